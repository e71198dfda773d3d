package sharcs.edge

/** The answer for one input (runtime/SPEC.md, section 8); what the task does not have is null. */
data class Prediction(
    /** Classification. */
    val label: String?,
    /** Classification: place of [label] among the session's labels. */
    val labelIndex: Int?,
    /** Classification: the label's probability. */
    val score: Double?,
    /** Regression. */
    val value: Double?,
    /** Multi-label: those that hold, in the manifest's order. */
    val labels: List<String>?,
    /** Of all labels: their softmax, or for multi-label each by itself. */
    val scores: List<Double>?,
    /** Of the answer, 0 to 1. */
    val confidence: Double?,
    /** Of the tail that answered. */
    val width: Double,
    /** Why this width answered: `router`, `explicit`, `escalated`, ... */
    val reason: String,
    /** The widths whose tails ran, in order; the last one answered. */
    val ran: List<Double>,
    /** Index of the operating point that decided. */
    val point: Int?,
    /** null: there was no limit on time or drop. */
    val budgetMet: Boolean?,
    /** Wall time, tokenization included. */
    val milliseconds: Double,
    /** That were processed, special tokens included. */
    val tokens: Long,
    /** The text was longer and was cut. */
    val truncated: Boolean,
)
