import Foundation
import SharcsEdge
import XCTest

private let text = "turn on the light"

final class SessionTests: XCTestCase {
    func testAnswersAsPythonDoes() throws {
        for name in ["classification", "multi_label", "regression", "pairs", "shared"] {
            let session = try Given.session(name)
            for vector in try Vector.read(name) {
                let pair = vector.texts.count == 2 ? vector.texts[1] : nil
                let found = try session.predict(vector.texts[0], pair: pair, budget: Budget(vector.limits))
                compare(found, vector.answer, "\(name): \(vector.texts) under \(vector.budget)")
            }
        }
    }

    func testDescribesTheArtifact() throws {
        let info = try Given.session("classification").info
        XCTAssertEqual(info.labels, ["home", "music", "weather"])
        XCTAssertEqual(info.widths, [0.25, 0.5, 1])
        XCTAssertEqual(info.task, .classification)
        XCTAssertEqual(info.points, 3)
        XCTAssertEqual(Session.version.split(separator: ".").count, 3)
    }

    func testRefusesWithASentence() throws {
        let session = try Given.session("classification")
        XCTAssertEqual(failure { try Given.session("nowhere") }?.kind, .artifact)
        XCTAssertEqual(failure { try session.predict(" ") }?.kind, .input)
        XCTAssertEqual(failure { try session.predict("") }?.kind, .input)
        XCTAssertEqual(failure { try session.predict(text, pair: text) }?.kind, .input)
        XCTAssertEqual(failure { try session.predictBatch([text], pairs: [text]) }?.kind, .input)
        XCTAssertEqual(failure { try session.predictBatch([text, ""]) }?.message.contains("text 1"), true)
        XCTAssertEqual(failure { try session.predict(text, budget: Budget(Limits(width: 0))) }?.kind, .usage)
        XCTAssertEqual(failure { try session.predict(text, budget: Budget(Limits(width: 2))) }?.kind, .usage)
        let library = Session.Options(onnxruntime: "libnone.so")
        let path = Given.data.appendingPathComponent("classification").path
        XCTAssertEqual(failure { try Session(artifact: path, options: library) }?.kind, .engine)
    }

    func testHoldsLimits() throws {
        let session = try Given.session("classification")
        let fixed = try session.predict(text, budget: Budget(Limits(width: 0.5)))
        XCTAssertEqual(fixed.ran, [0.5])
        XCTAssertNil(fixed.budgetMet)
        XCTAssertEqual(try session.predict(text, budget: Budget(Limits(deadlineMs: 10_000))).budgetMet, true)
    }

    /// Each condition by itself holds and does not hold.
    func testFollowsConditions() throws {
        let session = try Given.session("classification")
        let free = try session.predict(text).reason
        let narrow = Limits(width: 0.25)
        let cases: [(Rule, holds: Conditions, fails: Conditions)] = [
            (Rule(narrow, batteryBelow: 0.2), Conditions(battery: 0.1), Conditions(battery: 0.9)),
            (Rule(narrow, batteryAbove: 0.8), Conditions(battery: 0.9), Conditions(battery: 0.1)),
            (Rule(narrow, temperatureBelow: 10), Conditions(temperature: 0), Conditions(temperature: 50)),
            (Rule(narrow, temperatureAbove: 70), Conditions(temperature: 80), Conditions(temperature: 50)),
            (Rule(narrow, throttled: true), Conditions(throttled: true), Conditions(throttled: false)),
            (Rule(narrow, background: false), Conditions(background: false), Conditions(background: true)),
        ]
        for (rule, holds, fails) in cases {
            let budget = Budget(rules: [Rule(Limits(minWidth: 0.25), throttled: true), rule])
            try session.push(holds)
            XCTAssertEqual(try session.predict(text, budget: budget).reason, "explicit", "\(rule)")
            try session.push(fails)
            XCTAssertEqual(try session.predict(text, budget: budget).reason, free, "\(rule)")
        }
    }

    func testAnswersTogetherAndFromManyThreads() throws {
        let session = try Given.session("classification")
        let texts = (0..<40).map { text + String(repeating: " play", count: $0 % 5) }
        let alone = try texts.map { try session.predict($0) }
        let batch = try session.predictBatch(texts, batchSize: 4)
        XCTAssertEqual(batch.map(\.label), alone.map(\.label))
        XCTAssertEqual(batch.map(\.width), alone.map(\.width))
        XCTAssertEqual(try session.predictBatch([]), [])
        let scores = alone.map(\.scores)
        DispatchQueue.concurrentPerform(iterations: texts.count) { row in
            XCTAssertEqual(try? session.predict(texts[row]).scores, scores[row])
        }
        let pairs = try Given.session("pairs")
        XCTAssertEqual(
            try pairs.predictBatch([text], pairs: ["play some music"]).map(\.label),
            [try pairs.predict(text, pair: "play some music").label])
    }

    func testVerifies() throws {
        XCTAssertNoThrow(try Given.session("classification").verify())
    }

    private func failure<Value>(_ call: () throws -> Value) -> SharcsEdgeError? {
        do {
            _ = try call()
            return nil
        } catch {
            return error as? SharcsEdgeError
        }
    }

    /// Decisions are equal; scores differ by how the engine rounds on this machine.
    private func compare(_ found: Prediction, _ expected: Vector.Answer, _ place: String) {
        XCTAssertEqual(found.label, expected.label, place)
        XCTAssertEqual(found.labels, expected.labels, place)
        XCTAssertEqual(found.width, expected.width, place)
        XCTAssertEqual(found.reason, expected.reason, place)
        XCTAssertEqual(found.ran, expected.ran, place)
        XCTAssertEqual(found.point, expected.point, place)
        XCTAssertEqual(found.budgetMet, expected.budgetMet, place)
        XCTAssertEqual(found.tokens, expected.tokens, place)
        XCTAssertEqual(found.truncated, expected.truncated, place)
        let numbers = [
            (found.score, expected.score), (found.value, expected.value), (found.confidence, expected.confidence),
        ]
        for (number, wanted) in numbers {
            XCTAssertEqual(number == nil, wanted == nil, place)
            XCTAssertEqual(number ?? 0, wanted ?? 0, accuracy: 1e-5, place)
        }
        XCTAssertEqual(found.scores?.count, expected.scores?.count, place)
        for (number, wanted) in zip(found.scores ?? [], expected.scores ?? []) {
            XCTAssertEqual(number, wanted, accuracy: 1e-5, place)
        }
    }
}
