// Answers requests, one per line of the standard input, each as a line of JSON to compare with what Python's Session
// answered. A request: limits as name=number joined by commas, and one or two texts in base64, separated by spaces.
package answers

import java.util.Base64
import sharcs.edge.Budget
import sharcs.edge.Limits
import sharcs.edge.Prediction
import sharcs.edge.Session
import sharcs.edge.SessionOptions

fun main(arguments: Array<String>) {
    val (artifact, onnxruntime) = arguments
    Session.load(artifact, SessionOptions(onnxruntime = onnxruntime)).use { session ->
        for (line in generateSequence(::readlnOrNull)) {
            val (limits, texts) = line.split(' ').let { it.first() to it.drop(1).map(::decode) }
            println(json(session.predict(texts[0], texts.getOrNull(1), budget(limits))))
        }
    }
}

private fun decode(text: String) = String(Base64.getDecoder().decode(text), Charsets.UTF_8)

private fun budget(limits: String): Budget? {
    if (limits == "-") return null
    val given = limits.split(',').associate { it.substringBefore('=') to it.substringAfter('=').toDouble() }
    return Budget(
        Limits(
            width = given["width"],
            minWidth = given["min_width"],
            maxWidth = given["max_width"],
            memoryMb = given["memory_mb"],
            maxDrop = given["max_drop"],
        ),
    )
}

private fun json(answer: Prediction): String =
    listOf(
        "label" to answer.label?.let(::quote),
        "score" to answer.score,
        "value" to answer.value,
        "labels" to answer.labels?.map(::quote),
        "scores" to answer.scores,
        "confidence" to answer.confidence,
        "width" to answer.width,
        "reason" to quote(answer.reason),
        "ran" to answer.ran,
        "point" to answer.point,
        "budget_met" to answer.budgetMet,
        "tokens" to answer.tokens,
        "truncated" to answer.truncated,
    ).filter { it.second != null }.joinToString(prefix = "{", postfix = "}") { (name, value) -> "\"$name\": $value" }

private fun quote(text: String): String =
    text.map { if (it == '"' || it == '\\' || it < ' ') "\\u%04x".format(it.code) else it }.joinToString("", "\"", "\"")
