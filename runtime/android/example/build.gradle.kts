plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "sharcs.edge.example"
    compileSdk = 35
    defaultConfig {
        applicationId = "sharcs.edge.example"
        minSdk = 23
        targetSdk = 35
        versionCode = 1
        versionName = "1"
    }
    // Graphs are mapped from their files, which the app unpacks: packing them twice gains nothing.
    androidResources { noCompress += listOf("onnx", "bin", "npz") }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies { implementation(project(":sharcs-edge")) }
