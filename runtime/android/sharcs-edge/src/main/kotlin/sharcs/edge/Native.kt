package sharcs.edge

/**
 * jni.cpp, function by function. Text is UTF-8 in byte arrays, since JNI's own strings are not UTF-8; a budget is what
 * [Budget.wire] makes of it. The public functions here are called from there.
 */
internal object Native {
    init {
        System.loadLibrary("sharcs_edge_jni")
    }

    @JvmStatic
    external fun version(): ByteArray

    @JvmStatic
    external fun create(
        artifact: ByteArray,
        onnxruntime: ByteArray?,
        budget: DoubleArray?,
        threads: Int,
        skipHashes: Boolean,
        uncalibrated: Boolean,
    ): Long

    @JvmStatic
    external fun free(session: Long)

    @JvmStatic
    external fun info(session: Long): SessionInfo

    @JvmStatic
    external fun predict(session: Long, texts: Array<ByteArray>, budget: DoubleArray?): Prediction

    @JvmStatic
    external fun predictBatch(
        session: Long,
        texts: Array<ByteArray>,
        count: Int,
        batchSize: Int,
        budget: DoubleArray?,
    ): Array<Prediction>

    @JvmStatic
    external fun verify(session: Long)

    @JvmStatic
    external fun pushConditions(
        session: Long,
        known: Int,
        throttled: Boolean,
        background: Boolean,
        battery: Double,
        temperature: Double,
    )

    @JvmStatic
    fun makeException(status: Int, message: ByteArray): SharcsEdgeException =
        SharcsEdgeException.of(status, message.decodeToString())

    @JvmStatic
    fun makeInfo(
        family: ByteArray,
        widths: DoubleArray,
        labels: Array<ByteArray>,
        task: Int,
        textInputs: Int,
        maxLength: Int,
        points: Int,
        onnxruntimeVersion: ByteArray,
    ) = SessionInfo(
        family.decodeToString(),
        widths.asList(),
        labels.map { it.decodeToString() },
        Task.entries[task - 1],
        textInputs,
        maxLength,
        points,
        onnxruntimeVersion.decodeToString(),
    )

    @JvmStatic
    fun makePrediction(
        label: ByteArray?,
        labelIndex: Int,
        score: Double,
        value: Double,
        labels: Array<ByteArray>?,
        scores: DoubleArray?,
        confidence: Double,
        width: Double,
        reason: ByteArray,
        ran: DoubleArray,
        point: Int,
        budgetMet: Int,
        milliseconds: Double,
        tokens: Long,
        truncated: Boolean,
    ) = Prediction(
        label?.decodeToString(),
        labelIndex.takeIf { it >= 0 },
        score.takeUnless { it.isNaN() },
        value.takeUnless { it.isNaN() },
        labels?.map { it.decodeToString() },
        scores?.asList(),
        confidence.takeUnless { it.isNaN() },
        width,
        reason.decodeToString(),
        ran.asList(),
        point.takeIf { it >= 0 },
        if (budgetMet < 0) null else budgetMet == 1,
        milliseconds,
        tokens,
        truncated,
    )
}
