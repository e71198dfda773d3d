import Foundation
import Observation
import SharcsEdge

/// Of ONNX Runtime, which is linked statically into apps for iOS.
@_silgen_name("OrtGetApiBase")
private func OrtGetApiBase() -> UnsafeRawPointer

/// What the view shows. The session works in a queue of its own.
@Observable
final class Classifier: @unchecked Sendable {
    private(set) var answer = ""

    // 20 ms per text; less width while the battery is low.
    @ObservationIgnored private let budget = Budget(
        Limits(deadlineMs: 20), rules: [Rule(Limits(maxWidth: 0.5), batteryBelow: 0.2)])
    @ObservationIgnored private let queue = DispatchQueue(label: "sharcs.edge.example")
    @ObservationIgnored private var session: Session?  // of the queue alone

    func load(from bundle: Bundle) {
        perform { [self] in
            guard let folder = bundle.url(forResource: "artifact", withExtension: nil) else {
                return "The app has no artifact; copy one into Example.swiftpm/artifact."
            }
            let options = Session.Options(budget: budget, ortApiBase: OrtGetApiBase())
            let loaded = try Session(artifact: folder.path, options: options)
            session = loaded
            return loaded.info.labels.joined(separator: ", ")
        }
    }

    func predict(_ text: String) {
        perform { [self] in
            guard let found = try session?.predict(text) else { return "The artifact is not loaded." }
            let what = found.label ?? found.labels?.joined(separator: ", ") ?? found.value?.description ?? ""
            let time = String(format: "%.1f", found.milliseconds)
            return "\(what)\nwidth \(found.width) (\(found.reason)), \(time) ms"
        }
    }

    func push(_ conditions: Conditions) {
        queue.async { [self] in try? session?.push(conditions) }
    }

    private func perform(_ work: @escaping () throws -> String) {
        queue.async { [self] in
            let text: String
            do { text = try work() } catch { text = error.localizedDescription }
            DispatchQueue.main.async { self.answer = text }
        }
    }
}
