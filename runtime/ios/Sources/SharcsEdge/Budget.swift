import CSharcsEdge

/// Limits on each input, or on the mean over inputs (runtime/SPEC.md, section 11); nil is no limit.
public struct Limits: Hashable, Sendable {
    /// Run this width; excludes `minWidth` and `maxWidth`.
    public var width: Double?
    /// Run no narrower one, in (0, 1].
    public var minWidth: Double?
    /// Run no wider one, in (0, 1].
    public var maxWidth: Double?
    /// Mean wall time per input in ms; needs operating points.
    public var meanMs: Double?
    /// Wall time of each input in ms.
    public var deadlineMs: Double?
    /// Estimated private memory of the loaded graphs, in MB of 2^20 bytes.
    public var memoryMb: Double?
    /// Mean millijoules per input, an estimate; needs operating points and watts.
    public var energyMj: Double?
    /// Loss against the full width that calibration ruled out, 0 to 1.
    public var maxDrop: Double?

    public init(
        width: Double? = nil, minWidth: Double? = nil, maxWidth: Double? = nil, meanMs: Double? = nil,
        deadlineMs: Double? = nil, memoryMb: Double? = nil, energyMj: Double? = nil, maxDrop: Double? = nil
    ) {
        self.width = width
        self.minWidth = minWidth
        self.maxWidth = maxWidth
        self.meanMs = meanMs
        self.deadlineMs = deadlineMs
        self.memoryMb = memoryMb
        self.energyMj = energyMj
        self.maxDrop = maxDrop
    }

    func raw() throws -> sharcs_limits {
        var limits = sharcs_limits()
        limits.width = try given("width", width)
        limits.min_width = try given("minWidth", minWidth)
        limits.max_width = try given("maxWidth", maxWidth)
        limits.mean_ms = try given("meanMs", meanMs)
        limits.deadline_ms = try given("deadlineMs", deadlineMs)
        limits.memory_mb = try given("memoryMb", memoryMb)
        limits.energy_mj = try given("energyMj", energyMj)
        limits.max_drop = maxDrop ?? 0
        limits.has_max_drop = maxDrop == nil ? 0 : 1
        return limits
    }
}

/// `limits` that hold as well while all the conditions that are not nil do; one that is unknown does not hold.
public struct Rule: Hashable, Sendable {
    public var limits: Limits
    /// Share of the battery's charge, 0 to 1; below and above exclude the limit itself.
    public var batteryBelow: Double?
    public var batteryAbove: Double?
    /// Of the hottest thermal zone, degrees Celsius.
    public var temperatureBelow: Double?
    public var temperatureAbove: Double?
    /// Holds while the processor is, or is not, held back for heat or lack of power.
    public var throttled: Bool?
    /// Holds while the process runs, or does not run, in the background.
    public var background: Bool?

    public init(
        _ limits: Limits, batteryBelow: Double? = nil, batteryAbove: Double? = nil, temperatureBelow: Double? = nil,
        temperatureAbove: Double? = nil, throttled: Bool? = nil, background: Bool? = nil
    ) {
        self.limits = limits
        self.batteryBelow = batteryBelow
        self.batteryAbove = batteryAbove
        self.temperatureBelow = temperatureBelow
        self.temperatureAbove = temperatureAbove
        self.throttled = throttled
        self.background = background
    }

    func raw() throws -> sharcs_rule {
        var rule = sharcs_rule()
        rule.limits = try limits.raw()
        rule.conditions = bits([
            (batteryBelow != nil, SHARCS_HAS_BATTERY_BELOW),
            (batteryAbove != nil, SHARCS_HAS_BATTERY_ABOVE),
            (temperatureBelow != nil, SHARCS_HAS_TEMPERATURE_BELOW),
            (temperatureAbove != nil, SHARCS_HAS_TEMPERATURE_ABOVE),
            (throttled != nil, SHARCS_HAS_THROTTLED),
            (background != nil, SHARCS_HAS_BACKGROUND),
        ])
        rule.throttled = throttled == true ? 1 : 0
        rule.background = background == true ? 1 : 0
        rule.battery_below = batteryBelow ?? 0
        rule.battery_above = batteryAbove ?? 0
        rule.temperature_below = temperatureBelow ?? 0
        rule.temperature_above = temperatureAbove ?? 0
        return rule
    }
}

/// What the caller allows. Equal budgets are one budget: their mean is held over the inputs of all of them.
public struct Budget: Hashable, Sendable {
    public var limits: Limits
    /// What the device draws while it computes; nil: what latency.json says.
    public var watts: Double?
    public var rules: [Rule]

    public init(_ limits: Limits = Limits(), watts: Double? = nil, rules: [Rule] = []) {
        self.limits = limits
        self.watts = watts
        self.rules = rules
    }
}

extension Optional where Wrapped == Budget {
    /// Calls `body` with the C runtime's budget, nil for nil.
    func withRaw<Result>(_ body: (OpaquePointer?) throws -> Result) throws -> Result {
        guard let budget = self else { return try body(nil) }
        let rules = try budget.rules.map { try $0.raw() }
        var options = sharcs_budget_options()
        options.struct_size = MemoryLayout<sharcs_budget_options>.size
        options.limits = try budget.limits.raw()
        options.watts = try given("watts", budget.watts)
        var made: OpaquePointer?
        defer { sharcs_budget_free(made) }
        try rules.withUnsafeBufferPointer { pointer in
            options.rules = pointer.baseAddress
            options.num_rules = pointer.count
            try checked { sharcs_budget_create(&options, &made, $0) }
        }
        return try body(made)
    }
}

/// The C runtime takes 0 for "no limit"; here that is nil, and a 0 is the mistake that it looks like.
private func given(_ name: String, _ value: Double?) throws -> Double {
    if value == 0 { throw SharcsEdgeError.usage("\(name) is 0; give a number above 0, or leave it out for no limit") }
    return value ?? 0
}

func bits<Bit: BinaryInteger>(_ flags: [(Bool, Bit)]) -> UInt32 {
    flags.reduce(0) { $1.0 ? $0 | UInt32($1.1) : $0 }
}
