import CSharcsEdge

/// The answer for one input (runtime/SPEC.md, section 8); what the task does not have is nil.
public struct Prediction: Hashable, Sendable {
    /// Classification.
    public let label: String?
    /// Classification: place of `label` among the session's labels.
    public let labelIndex: Int?
    /// Classification: the label's probability.
    public let score: Double?
    /// Regression.
    public let value: Double?
    /// Multi-label: those that hold, in the manifest's order.
    public let labels: [String]?
    /// Of all labels: their softmax, or for multi-label each by itself.
    public let scores: [Double]?
    /// Of the answer, 0 to 1.
    public let confidence: Double?
    /// Of the tail that answered.
    public let width: Double
    /// Why this width answered: `router`, `explicit`, `escalated`, ...
    public let reason: String
    /// The widths whose tails ran, in order; the last one answered.
    public let ran: [Double]
    /// Index of the operating point that decided.
    public let point: Int?
    /// nil: there was no limit on time or drop.
    public let budgetMet: Bool?
    /// Wall time, tokenization included.
    public let milliseconds: Double
    /// That were processed, special tokens included.
    public let tokens: Int
    /// The text was longer and was cut.
    public let truncated: Bool

    init(_ raw: sharcs_prediction, task: Task) {
        label = raw.label.map { String(cString: $0) }
        labelIndex = raw.label_index < 0 ? nil : Int(raw.label_index)
        score = number(raw.score)
        value = number(raw.value)
        labels = task == .multiLabel ? strings(raw.labels, raw.num_labels) : nil
        scores = task == .regression ? nil : numbers(raw.scores, raw.num_scores)
        confidence = number(raw.confidence)
        width = raw.width
        reason = String(cString: sharcs_reason_name(raw.reason))
        ran = numbers(raw.ran, raw.num_ran)
        point = raw.point < 0 ? nil : Int(raw.point)
        budgetMet = raw.budget_met < 0 ? nil : raw.budget_met == 1
        milliseconds = raw.milliseconds
        tokens = Int(raw.tokens)
        truncated = raw.truncated != 0
    }
}

private func number(_ value: Double) -> Double? { value.isNaN ? nil : value }

func numbers(_ values: UnsafePointer<Double>?, _ count: Int) -> [Double] {
    Array(UnsafeBufferPointer(start: values, count: count))
}

func strings(_ values: UnsafePointer<UnsafePointer<CChar>?>?, _ count: Int) -> [String] {
    UnsafeBufferPointer(start: values, count: count).map { $0.map { String(cString: $0) } ?? "" }
}
