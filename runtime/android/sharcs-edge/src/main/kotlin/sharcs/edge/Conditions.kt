package sharcs.edge

/** How the device is doing; what is null is read from the system where it offers it. */
data class Conditions @JvmOverloads constructor(
    /** Share of the charge, 0 to 1. */
    val battery: Double? = null,
    /** Of the hottest thermal zone, degrees Celsius. */
    val temperature: Double? = null,
    /** The processor is held back for heat or lack of power. */
    val throttled: Boolean? = null,
    /** The process runs in the background. */
    val background: Boolean? = null,
) {
    /** The C runtime's SHARCS_KNOWN_... bits. */
    internal val known: Int
        get() = listOf(battery, temperature, throttled, background)
            .withIndex()
            .sumOf { (place, value) -> if (value == null) 0 else 1 shl place }
}
