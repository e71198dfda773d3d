package sharcs.edge.example

import android.content.res.AssetManager
import java.io.File
import java.io.IOException

/**
 * The folder under [files] that holds the artifact which the app ships as the asset folder `artifact`.
 *
 * The runtime reads files, not assets. The folder is named by the app's version, so that an update brings its own, and
 * gets its name when it is complete: an app that is stopped half-way leaves none.
 */
fun unpackArtifact(assets: AssetManager, files: File, version: String): File {
    val folder = File(files, "artifact-$version")
    if (folder.isDirectory) return folder
    files.listFiles { file -> file.name.startsWith("artifact-") }?.forEach { it.deleteRecursively() }
    val unfinished = File(files, "artifact-unfinished").apply { mkdirs() }
    val names = assets.list("artifact").orEmpty()
    if (names.isEmpty()) throw IOException("the app has no artifact; copy one into src/main/assets/artifact")
    for (name in names) {
        assets.open("artifact/$name").use { from -> File(unfinished, name).outputStream().use { from.copyTo(it) } }
    }
    if (!unfinished.renameTo(folder)) throw IOException("$unfinished cannot be renamed to $folder")
    return folder
}
