import CSharcsEdge
import Foundation

/// Why something was refused or failed: what was given, what was expected, the cure.
public struct SharcsEdgeError: LocalizedError, Equatable, Sendable {
    /// Whose the fault is.
    public enum Kind: Sendable {
        /// The artifact is missing, damaged, or breaks the specification.
        case artifact
        /// A text cannot be processed.
        case input
        /// An argument, or a budget that cannot be or that the artifact cannot hold.
        case usage
        /// The artifact does not agree with torch on this device.
        case parity
        /// ONNX Runtime is missing, too old or failed, memory is short, or the library has a fault.
        case engine
    }

    /// The C runtime's `sharcs_status`.
    public let status: Int32
    public let message: String

    public var errorDescription: String? { message }

    public var kind: Kind {
        switch status / 100 {
        case 1: return .artifact
        case 2: return .input
        case 3: return .usage
        case 4: return .parity
        default: return .engine
        }
    }

    static func usage(_ message: String) -> SharcsEdgeError {
        SharcsEdgeError(status: Int32(SHARCS_ERROR_USAGE), message: message)
    }
}

/// Calls a function of the C runtime; throws what it reports.
func checked(_ call: (UnsafeMutablePointer<OpaquePointer?>) -> sharcs_status) throws {
    var error: OpaquePointer?
    defer { sharcs_error_free(error) }
    let status = call(&error)
    guard status != Int32(SHARCS_OK) else { return }
    let message = error == nil ? sharcs_status_message(status) : sharcs_error_message(error)
    throw SharcsEdgeError(status: status, message: message.map { String(cString: $0) } ?? "")
}
