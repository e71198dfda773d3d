package sharcs.edge

import java.util.concurrent.locks.ReentrantReadWriteLock
import kotlin.concurrent.read
import kotlin.concurrent.write

private const val INPUT = 200

/** What an answer is. */
enum class Task { CLASSIFICATION, MULTI_LABEL, REGRESSION }

/** What the artifact of a session is. */
data class SessionInfo(
    val family: String,
    /** Ascending. */
    val widths: List<Double>,
    /** In the order of the logits; of a regression the name of its value. */
    val labels: List<String>,
    val task: Task,
    /** Texts per input: 1 or 2. */
    val textInputs: Int,
    /** Tokens per input, special tokens included; longer inputs are cut. */
    val maxLength: Int,
    /** Operating points; 0: not calibrated. */
    val points: Int,
    val onnxruntimeVersion: String,
)

/** How a session is loaded. */
data class SessionOptions @JvmOverloads constructor(
    /** Of predictions that bring none. */
    val budget: Budget? = null,
    /** That compute one prediction, the caller's included. */
    val threads: Int = 1,
    /** Name or path of ONNX Runtime's library; null: the one that the app brings. */
    val onnxruntime: String? = null,
    /** Check that files are there and have their sizes, not their SHA-256. */
    val skipHashes: Boolean = false,
    /** Route without the artifact's operating points. */
    val uncalibrated: Boolean = false,
)

/**
 * An artifact in memory, which answers texts.
 *
 * Any number of threads may use one session. It holds memory outside the Java heap: [close] it when it is not needed
 * any more. Closing waits for the predictions that run; a later call throws [IllegalStateException].
 */
class Session private constructor(private var handle: Long) : AutoCloseable {
    private val lock = ReentrantReadWriteLock()

    val info: SessionInfo = Native.info(handle)

    /**
     * Answer one text, or a [text] and its [pair] where the artifact takes two.
     *
     * @throws InputException for a text that cannot be processed, or a wrong number of them
     * @throws UsageException for a budget that cannot be
     */
    @JvmOverloads
    fun predict(text: String, pair: String? = null, budget: Budget? = null): Prediction =
        use { Native.predict(it, encode(listOfNotNull(text, pair)), budget?.wire()) }

    /**
     * Answer [texts] at once, with their [pairs] where the artifact takes two. Rows of like length share a run of at
     * most [batchSize] (0: as usual). All texts are checked before the first is computed.
     */
    @JvmOverloads
    fun predictBatch(
        texts: List<String>,
        pairs: List<String>? = null,
        budget: Budget? = null,
        batchSize: Int = 0,
    ): List<Prediction> {
        if ((pairs == null) != (info.textInputs == 1) || (pairs != null && pairs.size != texts.size)) {
            val given = "${texts.size} texts and ${pairs?.size ?: 0} pairs were given"
            throw InputException(INPUT, "$given; the artifact takes ${info.textInputs} of them per input")
        }
        require(batchSize >= 0) { "batchSize is $batchSize; give 0 or more" }
        val all = if (pairs == null) texts else texts.zip(pairs).flatMap { it.toList() }
        return use { Native.predictBatch(it, encode(all), texts.size, batchSize, budget?.wire()).toList() }
    }

    /**
     * Run the artifact's golden texts on this device and compare with torch's answers.
     *
     * @throws ParityException naming graph, number, limit and row of each failure
     */
    fun verify() = use { Native.verify(it) }

    /** Say how the device is doing: what is not null counts until the next call, which replaces all of it. */
    fun pushConditions(conditions: Conditions) = use {
        Native.pushConditions(
            it,
            conditions.known,
            conditions.throttled == true,
            conditions.background == true,
            conditions.battery ?: 0.0,
            conditions.temperature ?: 0.0,
        )
    }

    override fun close() = lock.write {
        Native.free(handle)
        handle = 0
    }

    private inline fun <T> use(call: (Long) -> T): T = lock.read {
        check(handle != 0L) { "the session is closed" }
        call(handle)
    }

    companion object {
        /** Version of the C runtime, such as "0.1.0". */
        @JvmStatic
        val version: String
            get() = Native.version().decodeToString()

        /**
         * Open an artifact folder, check its files, load its tokenizer and graphs. This takes a while: keep it.
         *
         * @throws ArtifactException, UsageException or EngineException
         */
        @JvmStatic
        @JvmOverloads
        fun load(artifact: String, options: SessionOptions = SessionOptions()): Session =
            Session(
                Native.create(
                    artifact.encodeToByteArray(),
                    options.onnxruntime?.encodeToByteArray(),
                    options.budget?.wire(),
                    options.threads,
                    options.skipHashes,
                    options.uncalibrated,
                ),
            )
    }
}

private val notUnicode = byteArrayOf(-1)

/** Half a surrogate pair has no UTF-8: the C runtime is given what it refuses, and says which text that was. */
private fun encode(texts: List<String>): Array<ByteArray> = Array(texts.size) { place ->
    try {
        texts[place].encodeToByteArray(throwOnInvalidSequence = true)
    } catch (_: CharacterCodingException) {
        notUnicode
    }
}
