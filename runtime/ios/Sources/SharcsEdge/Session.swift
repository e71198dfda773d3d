import CSharcsEdge

/// What an answer is.
public enum Task: Int32, Sendable {
    case classification = 1
    case multiLabel = 2
    case regression = 3
}

/// An artifact in memory, which answers texts. Any number of threads may use one session.
public final class Session: @unchecked Sendable {
    /// How a session is loaded.
    public struct Options: @unchecked Sendable {
        /// Of predictions that bring none.
        public var budget: Budget?
        /// That compute one prediction, the caller's included.
        public var threads: Int32
        /// Name or path of ONNX Runtime's library; nil: the one that the app brings.
        public var onnxruntime: String?
        /// Instead: what `OrtGetApiBase()` returns, for an ONNX Runtime that is linked statically.
        public var ortApiBase: UnsafeRawPointer?
        /// Check that files are there and have their sizes, not their SHA-256.
        public var skipHashes: Bool
        /// Route without the artifact's operating points.
        public var uncalibrated: Bool

        public init(
            budget: Budget? = nil, threads: Int32 = 1, onnxruntime: String? = nil,
            ortApiBase: UnsafeRawPointer? = nil, skipHashes: Bool = false, uncalibrated: Bool = false
        ) {
            self.budget = budget
            self.threads = threads
            self.onnxruntime = onnxruntime
            self.ortApiBase = ortApiBase
            self.skipHashes = skipHashes
            self.uncalibrated = uncalibrated
        }
    }

    /// What the artifact is.
    public struct Info: Hashable, Sendable {
        public let family: String
        /// Ascending.
        public let widths: [Double]
        /// In the order of the logits; of a regression the name of its value.
        public let labels: [String]
        public let task: Task
        /// Texts per input: 1 or 2.
        public let textInputs: Int
        /// Tokens per input, special tokens included; longer inputs are cut.
        public let maxLength: Int
        /// Operating points; 0: not calibrated.
        public let points: Int
        public let onnxruntimeVersion: String

        /// nil for a task that a newer library knows.
        init?(_ raw: sharcs_session_info) {
            guard let task = Task(rawValue: raw.task) else { return nil }
            family = String(cString: raw.family)
            widths = numbers(raw.widths, raw.num_widths)
            labels = strings(raw.labels, raw.num_labels)
            self.task = task
            textInputs = Int(raw.text_inputs)
            maxLength = Int(raw.max_length)
            points = Int(raw.num_points)
            onnxruntimeVersion = String(cString: raw.onnxruntime_version)
        }
    }

    /// Version of the C runtime, such as "0.1.0".
    public static var version: String { String(cString: sharcs_version()) }

    public let info: Info
    private let handle: OpaquePointer

    /// Open an artifact folder, check its files, load its tokenizer and graphs. This takes a while: keep the session.
    public init(artifact: String, options: Options = Options()) throws {
        var raw = sharcs_session_options()
        raw.struct_size = MemoryLayout<sharcs_session_options>.size
        raw.ort_api_base = options.ortApiBase
        raw.threads = options.threads
        raw.skip_hashes = options.skipHashes ? 1 : 0
        raw.uncalibrated = options.uncalibrated ? 1 : 0
        var made: OpaquePointer?
        try options.budget.withRaw { budget in
            raw.budget = budget
            try withCString(options.onnxruntime) { library in
                raw.onnxruntime = library
                try checked { sharcs_session_create(artifact, &raw, &made, $0) }
            }
        }
        guard let handle = made, let found = sharcs_session_get_info(handle), let known = Info(found.pointee) else {
            sharcs_session_free(made)
            throw SharcsEdgeError(
                status: Int32(SHARCS_ERROR_INTERNAL),
                message: "the artifact has a task that this package does not know; use the one of the library's version")
        }
        self.handle = handle
        info = known
    }

    deinit { sharcs_session_free(handle) }

    /// Answer one text, or a text and its `pair` where the artifact takes two.
    public func predict(_ text: String, pair: String? = nil, budget: Budget? = nil) throws -> Prediction {
        var answer: UnsafeMutablePointer<sharcs_prediction>?
        defer { sharcs_prediction_free(answer) }
        try budget.withRaw { budget in
            try withTexts(pair.map { [text, $0] } ?? [text]) { texts in
                try checked {
                    sharcs_session_predict(handle, texts.baseAddress, texts.count, budget, &answer, $0)
                }
            }
        }
        return Prediction(answer!.pointee, task: info.task)
    }

    /// Answer `texts` at once, with their `pairs` where the artifact takes two. Rows of like length share a run of at
    /// most `batchSize` (0: as usual). All texts are checked before the first is computed.
    public func predictBatch(
        _ texts: [String], pairs: [String]? = nil, budget: Budget? = nil, batchSize: Int = 0
    ) throws -> [Prediction] {
        guard (pairs == nil) == (info.textInputs == 1), pairs == nil || pairs?.count == texts.count else {
            let given = "\(texts.count) texts and \(pairs?.count ?? 0) pairs were given"
            throw SharcsEdgeError(
                status: Int32(SHARCS_ERROR_INPUT),
                message: "\(given); the artifact takes \(info.textInputs) of them per input")
        }
        guard batchSize >= 0 else { throw SharcsEdgeError.usage("batchSize is \(batchSize); give 0 or more") }
        let all = pairs.map { zip(texts, $0).flatMap { [$0, $1] } } ?? texts
        var answers = [UnsafeMutablePointer<sharcs_prediction>?](repeating: nil, count: texts.count)
        defer { answers.forEach(sharcs_prediction_free) }
        try budget.withRaw { budget in
            try withTexts(all) { given in
                try checked { error in
                    sharcs_session_predict_batch(
                        handle, given.baseAddress, texts.count, batchSize, budget, &answers, error)
                }
            }
        }
        return answers.map { Prediction($0!.pointee, task: info.task) }
    }

    /// Run the artifact's golden texts on this device and compare with torch's answers; throws what differs.
    public func verify() throws {
        try checked { sharcs_session_verify(handle, $0) }
    }

    /// Say how the device is doing: what is not nil counts until the next call, which replaces all of it.
    public func push(_ conditions: Conditions) throws {
        var raw = conditions.raw
        try checked { sharcs_session_push_conditions(handle, &raw, $0) }
    }
}

private func withCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) throws -> Result) rethrows -> Result {
    guard let text else { return try body(nil) }
    return try text.withCString { try body($0) }
}

/// The texts' UTF-8, one behind the other in one buffer, as the C runtime takes them.
private func withTexts<Result>(
    _ texts: [String], _ body: (UnsafeBufferPointer<sharcs_text>) throws -> Result
) rethrows -> Result {
    let bytes = texts.flatMap { Array($0.utf8) }
    return try bytes.withUnsafeBytes { buffer in
        // Of an empty buffer there is no address, and the C runtime asks for one even with an empty text.
        let start = buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        var offset = 0
        let views: [sharcs_text] = texts.map { text in
            defer { offset += text.utf8.count }
            return sharcs_text(data: (start + offset).assumingMemoryBound(to: CChar.self), size: text.utf8.count)
        }
        return try views.withUnsafeBufferPointer(body)
    }
}
