package sharcs.edge

/**
 * Why something was refused or failed: what was given, what was expected, the cure.
 *
 * [status] is the C runtime's `sharcs_status`; the class says whose the fault is.
 */
sealed class SharcsEdgeException(val status: Int, message: String) : RuntimeException(message) {
    internal companion object {
        fun of(status: Int, message: String): SharcsEdgeException =
            when (status / 100) {
                1 -> ArtifactException(status, message)
                2 -> InputException(status, message)
                3 -> UsageException(status, message)
                4 -> ParityException(status, message)
                else -> EngineException(status, message)
            }
    }
}

/** The artifact is missing, damaged, or breaks the specification. */
class ArtifactException internal constructor(status: Int, message: String) : SharcsEdgeException(status, message)

/** A text cannot be processed. */
class InputException internal constructor(status: Int, message: String) : SharcsEdgeException(status, message)

/** An argument, or a budget that cannot be or that the artifact cannot hold. */
class UsageException internal constructor(status: Int, message: String) : SharcsEdgeException(status, message)

/** The artifact does not agree with torch on this device. */
class ParityException internal constructor(status: Int, message: String) : SharcsEdgeException(status, message)

/** ONNX Runtime is missing, too old or failed, memory is short, or the library has a fault. */
class EngineException internal constructor(status: Int, message: String) : SharcsEdgeException(status, message)
