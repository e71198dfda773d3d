import Foundation
import SharcsEdge

/// Where the environment says the tests' artifacts and ONNX Runtime are.
enum Given {
    static let data = URL(fileURLWithPath: environment("SHARCS_EDGE_TEST_DATA"))
    static let options = Session.Options(onnxruntime: environment("SHARCS_EDGE_ONNXRUNTIME"))

    static func session(_ name: String) throws -> Session {
        try Session(artifact: data.appendingPathComponent(name).path, options: options)
    }

    private static func environment(_ name: String) -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else {
            preconditionFailure("the tests need \(name) in the environment; make test-bindings sets it")
        }
        return value
    }
}

/// A row of tests/c/data/*.json: what Python's Session answered.
struct Vector: Decodable {
    struct Answer: Decodable {
        let label: String?
        let score: Double?
        let value: Double?
        let labels: [String]?
        let scores: [Double]?
        let confidence: Double?
        let width: Double
        let reason: String
        let ran: [Double]
        let point: Int?
        let budgetMet: Bool?
        let tokens: Int
        let truncated: Bool
    }

    let texts: [String]
    let budget: [String: Double]
    let answer: Answer

    static func read(_ name: String) throws -> [Vector] {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let vectors = try decoder.decode(
            [Vector].self, from: Data(contentsOf: Given.data.appendingPathComponent("\(name).json")))
        return vectors
    }

    var limits: Limits {
        Limits(
            width: budget["width"], minWidth: budget["min_width"], maxWidth: budget["max_width"],
            memoryMb: budget["memory_mb"], maxDrop: budget["max_drop"])
    }
}
