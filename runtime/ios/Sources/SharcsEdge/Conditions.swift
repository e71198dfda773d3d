import CSharcsEdge

/// How the device is doing; what is nil is read from the system where it offers it.
public struct Conditions: Hashable, Sendable {
    /// Share of the charge, 0 to 1.
    public var battery: Double?
    /// Of the hottest thermal zone, degrees Celsius.
    public var temperature: Double?
    /// The processor is held back for heat or lack of power.
    public var throttled: Bool?
    /// The process runs in the background.
    public var background: Bool?

    public init(battery: Double? = nil, temperature: Double? = nil, throttled: Bool? = nil, background: Bool? = nil) {
        self.battery = battery
        self.temperature = temperature
        self.throttled = throttled
        self.background = background
    }

    var raw: sharcs_conditions {
        var conditions = sharcs_conditions()
        conditions.struct_size = MemoryLayout<sharcs_conditions>.size
        conditions.known = bits([
            (battery != nil, SHARCS_KNOWN_BATTERY),
            (temperature != nil, SHARCS_KNOWN_TEMPERATURE),
            (throttled != nil, SHARCS_KNOWN_THROTTLED),
            (background != nil, SHARCS_KNOWN_BACKGROUND),
        ])
        conditions.battery = battery ?? 0
        conditions.temperature = temperature ?? 0
        conditions.throttled = throttled == true ? 1 : 0
        conditions.background = background == true ? 1 : 0
        return conditions
    }
}
