package sharcs.edge.example

import android.app.Activity
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import java.io.IOException
import java.util.concurrent.Executors
import sharcs.edge.Budget
import sharcs.edge.Conditions
import sharcs.edge.Limits
import sharcs.edge.Prediction
import sharcs.edge.Rule
import sharcs.edge.Session
import sharcs.edge.SessionOptions
import sharcs.edge.SharcsEdgeException

/** One field, one button, one answer. Everything that takes time runs in one thread of its own. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private var session: Session? = null // of the worker alone
    private lateinit var answer: TextView

    // 20 ms per text; less width while the battery is low.
    private val saving = Rule(Limits(maxWidth = 0.5), batteryBelow = 0.2)
    private val budget = Budget(Limits(deadlineMs = 20.0), rules = listOf(saving))

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        val text = EditText(this).apply { hint = "a text" }
        val button = Button(this).apply { this.text = "Answer" }
        answer = TextView(this)
        button.setOnClickListener { predict(text.text.toString()) }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                listOf(text, button, answer).forEach(::addView)
            },
        )
        inWorker {
            val version = packageManager.getPackageInfo(packageName, 0).versionName
            val folder = unpackArtifact(assets, filesDir, version.orEmpty())
            session = Session.load(folder.path, SessionOptions(budget)).also { show(it.info.labels.joinToString()) }
        }
    }

    override fun onStart() {
        super.onStart()
        inWorker { session?.pushConditions(Conditions(background = false)) }
    }

    override fun onStop() {
        inWorker { session?.pushConditions(Conditions(background = true)) }
        super.onStop()
    }

    override fun onDestroy() {
        inWorker { session?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun predict(text: String) = inWorker { session?.let { show(describe(it.predict(text))) } }

    private fun describe(found: Prediction): String {
        val what = found.label ?: found.labels?.joinToString() ?: found.value.toString()
        return "%s\nwidth %.2f (%s), %.1f ms".format(what, found.width, found.reason, found.milliseconds)
    }

    private fun inWorker(task: () -> Unit) {
        worker.execute {
            try {
                task()
            } catch (error: SharcsEdgeException) {
                show(error.message.orEmpty())
            } catch (error: IOException) {
                show(error.message.orEmpty())
            }
        }
    }

    private fun show(text: String) = runOnUiThread { answer.text = text }
}
