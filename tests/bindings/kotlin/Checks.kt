// How sharcs.edge behaves where the C runtime's own tests do not reach. Arguments: an artifact that takes one text, one
// that takes two, and ONNX Runtime's library.
package checks

import java.util.concurrent.Callable
import java.util.concurrent.Executors
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import sharcs.edge.ArtifactException
import sharcs.edge.Budget
import sharcs.edge.Conditions
import sharcs.edge.EngineException
import sharcs.edge.InputException
import sharcs.edge.Limits
import sharcs.edge.Rule
import sharcs.edge.Session
import sharcs.edge.SessionOptions
import sharcs.edge.Task
import sharcs.edge.UsageException

private const val TEXT = "turn on the light"

fun main(arguments: Array<String>) {
    val (single, pairs, onnxruntime) = arguments
    val options = SessionOptions(onnxruntime = onnxruntime)
    describe(single, options)
    refuse(single, options)
    Session.load(single, options).use {
        refuseTexts(it)
        limit(it)
        followConditions(it)
        answerTogether(it)
        it.verify()
    }
    Session.load(pairs, options).use(::answerPairs)
    close(single, options)
    println("ok")
}

private fun describe(artifact: String, options: SessionOptions) = Session.load(artifact, options).use {
    assertEquals(listOf("home", "music", "weather"), it.info.labels)
    assertEquals(listOf(0.25, 0.5, 1.0), it.info.widths)
    assertEquals(Task.CLASSIFICATION, it.info.task)
    assertEquals(3, it.info.points)
    assertTrue(Regex("""\d+\.\d+\.\d+""").matches(it.info.onnxruntimeVersion))
    assertTrue(Regex("""\d+\.\d+\.\d+""").matches(Session.version))
}

private fun refuse(artifact: String, options: SessionOptions) {
    val missing = assertFailsWith<ArtifactException> { Session.load("$artifact/nowhere", options) }
    assertEquals(100, missing.status)
    assertContains(missing.message!!, "nowhere")
    assertFailsWith<EngineException> { Session.load(artifact, SessionOptions(onnxruntime = "libnone.so")) }
    val narrow = SessionOptions(Budget(Limits(maxWidth = 0.01)), onnxruntime = options.onnxruntime)
    assertEquals(301, assertFailsWith<UsageException> { Session.load(artifact, narrow) }.status)
}

private fun refuseTexts(session: Session) {
    assertFailsWith<InputException> { session.predict(" ") }
    assertContains(assertFailsWith<InputException> { session.predict("half a \uD83D pair") }.message!!, "UTF-8")
    val place = assertFailsWith<InputException> { session.predictBatch(listOf(TEXT, "\uDC00")) }.message!!
    assertContains(place, "text 1")
    assertFailsWith<InputException> { session.predictBatch(listOf(TEXT), listOf(TEXT)) }
    assertFailsWith<InputException> { session.predict(TEXT, TEXT) }
}

private fun limit(session: Session) {
    assertEquals(listOf(0.5), session.predict(TEXT, budget = Budget(Limits(width = 0.5))).ran)
    val answer = session.predict(TEXT, budget = Budget(Limits(deadlineMs = 10_000.0)))
    assertEquals(true, answer.budgetMet)
    assertNull(session.predict(TEXT).budgetMet)
    val zero = Budget(Limits(width = 0.0))
    assertContains(assertFailsWith<UsageException> { session.predict(TEXT, budget = zero) }.message!!, "width is 0")
    assertFailsWith<UsageException> { session.predict(TEXT, budget = Budget(Limits(width = -1.0))) }
    assertEquals("explicit", session.predict(TEXT, budget = Budget(Limits(width = 1.0))).reason)
}

/** Each condition by itself holds and does not hold: the bits and their order are those of the C runtime. */
private fun followConditions(session: Session) {
    val narrow = Limits(width = 0.25)
    val cases = listOf(
        Triple(Rule(narrow, batteryBelow = 0.2), Conditions(battery = 0.1), Conditions(battery = 0.9)),
        Triple(Rule(narrow, batteryAbove = 0.8), Conditions(battery = 0.9), Conditions(battery = 0.1)),
        Triple(Rule(narrow, temperatureBelow = 10.0), Conditions(temperature = 0.0), Conditions(temperature = 50.0)),
        Triple(Rule(narrow, temperatureAbove = 70.0), Conditions(temperature = 80.0), Conditions(temperature = 50.0)),
        Triple(Rule(narrow, throttled = true), Conditions(throttled = true), Conditions(throttled = false)),
        Triple(Rule(narrow, background = false), Conditions(background = false), Conditions(background = true)),
        Triple(
            Rule(narrow, batteryBelow = 0.5, background = true),
            Conditions(battery = 0.1, background = true),
            Conditions(battery = 0.1, background = false),
        ),
    )
    for ((rule, holds, fails) in cases) {
        val budget = Budget(rules = listOf(Rule(Limits(minWidth = 0.25), throttled = true), rule))
        session.pushConditions(holds)
        assertEquals("explicit", session.predict(TEXT, budget = budget).reason, "$rule under $holds")
        session.pushConditions(fails)
        assertEquals(session.predict(TEXT).reason, session.predict(TEXT, budget = budget).reason, "$rule under $fails")
    }
}

private fun answerTogether(session: Session) {
    val texts = List(70) { "$TEXT ${"play ".repeat(it % 5)}" }
    val alone = texts.map { session.predict(it) }
    val batch = session.predictBatch(texts, batchSize = 4)
    assertEquals(alone.map { it.label to it.width }, batch.map { it.label to it.width })
    assertEquals(emptyList(), session.predictBatch(emptyList()))
    val pool = Executors.newFixedThreadPool(4)
    val answers = pool.invokeAll(texts.map { Callable { session.predict(it) } }).map { it.get() }
    pool.shutdown()
    assertEquals(alone.map { it.scores }, answers.map { it.scores })
}

private fun answerPairs(session: Session) {
    assertEquals(2, session.info.textInputs)
    val answer = session.predict(TEXT, "play some music")
    assertEquals(answer.label, session.predictBatch(listOf(TEXT), listOf("play some music")).single().label)
    assertFailsWith<InputException> { session.predict(TEXT) }
    assertFailsWith<InputException> { session.predictBatch(listOf(TEXT, TEXT), listOf(TEXT)) }
}

private fun close(artifact: String, options: SessionOptions) {
    val session = Session.load(artifact, options)
    val pool = Executors.newFixedThreadPool(3)
    val runs = List(300) { pool.submit(Callable { runCatching { session.predict(TEXT) } }) }
    session.close()
    session.close()
    for (run in runs.map { it.get() }) {
        run.exceptionOrNull()?.let { assertEquals("the session is closed", it.message) }
    }
    pool.shutdown()
    assertFailsWith<IllegalStateException> { session.predict(TEXT) }
}
