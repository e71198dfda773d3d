package sharcs.edge

private const val USAGE = 300

/** The C runtime takes 0 for "no limit"; here that is null, and a 0 is the mistake that it looks like. */
private fun given(name: String, value: Double?): Double {
    if (value == 0.0) throw UsageException(USAGE, "$name is 0; give a number above 0, or leave it out for no limit")
    return value ?: 0.0
}

/** Limits on each input, or on the mean over inputs (runtime/SPEC.md, section 11); null is no limit. */
data class Limits @JvmOverloads constructor(
    /** Run this width; excludes [minWidth] and [maxWidth]. */
    val width: Double? = null,
    /** Run no narrower one, in (0, 1]. */
    val minWidth: Double? = null,
    /** Run no wider one, in (0, 1]. */
    val maxWidth: Double? = null,
    /** Mean wall time per input in ms; needs operating points. */
    val meanMs: Double? = null,
    /** Wall time of each input in ms. */
    val deadlineMs: Double? = null,
    /** Estimated private memory of the loaded graphs, in MB of 2^20 bytes. */
    val memoryMb: Double? = null,
    /** Mean millijoules per input, an estimate; needs operating points and watts. */
    val energyMj: Double? = null,
    /** Loss against the full width that calibration ruled out, 0 to 1. */
    val maxDrop: Double? = null,
) {
    internal fun wire(): DoubleArray =
        doubleArrayOf(
            given("width", width),
            given("minWidth", minWidth),
            given("maxWidth", maxWidth),
            given("meanMs", meanMs),
            given("deadlineMs", deadlineMs),
            given("memoryMb", memoryMb),
            given("energyMj", energyMj),
            maxDrop ?: 0.0,
            if (maxDrop == null) 0.0 else 1.0,
        )
}

/** [limits] that hold as well while all the conditions that are not null do; one that is unknown does not hold. */
data class Rule @JvmOverloads constructor(
    val limits: Limits,
    /** Share of the battery's charge, 0 to 1; below and above exclude the limit itself. */
    val batteryBelow: Double? = null,
    val batteryAbove: Double? = null,
    /** Of the hottest thermal zone, degrees Celsius. */
    val temperatureBelow: Double? = null,
    val temperatureAbove: Double? = null,
    /** Holds while the processor is, or is not, held back for heat or lack of power. */
    val throttled: Boolean? = null,
    /** Holds while the process runs, or does not run, in the background. */
    val background: Boolean? = null,
) {
    internal fun wire(): DoubleArray {
        val conditions = listOf(batteryBelow, batteryAbove, temperatureBelow, temperatureAbove, throttled, background)
        val named = conditions.withIndex().sumOf { (place, value) -> if (value == null) 0 else 1 shl place }
        return limits.wire() +
            doubleArrayOf(
                named.toDouble(),
                if (throttled == true) 1.0 else 0.0,
                if (background == true) 1.0 else 0.0,
                batteryBelow ?: 0.0,
                batteryAbove ?: 0.0,
                temperatureBelow ?: 0.0,
                temperatureAbove ?: 0.0,
            )
    }
}

/** What the caller allows. Equal budgets are one budget: their mean is held over the inputs of all of them. */
data class Budget @JvmOverloads constructor(
    val limits: Limits = Limits(),
    /** What the device draws while it computes; null: what latency.json says. */
    val watts: Double? = null,
    val rules: List<Rule> = emptyList(),
) {
    /** As `read_budget` of jni.cpp reads it: watts, the limits, the rules. */
    internal fun wire(): DoubleArray =
        rules.fold(doubleArrayOf(given("watts", watts)) + limits.wire()) { wire, rule -> wire + rule.wire() }
}
