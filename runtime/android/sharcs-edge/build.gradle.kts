plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "sharcs.edge"
    compileSdk = 35
    defaultConfig {
        minSdk = 23
        consumerProguardFiles("consumer-rules.pro")
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
        externalNativeBuild {
            cmake {
                targets += "sharcs_edge_jni"
                arguments +=
                    listOf(
                        "-DSHARCS_JNI=ON",
                        "-DSHARCS_TOOLS=OFF",
                        "-DSHARCS_TESTS=OFF",
                        "-DANDROID_STL=c++_static",
                        "-DSHARCS_JSON_INCLUDE_DIR=${rootProject.file(property("sharcs.json")!!)}",
                    )
            }
        }
    }
    externalNativeBuild { cmake { path = file("../../c/CMakeLists.txt") } }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    // Any version from 1.20 on: an app that names another one gets that.
    api("com.microsoft.onnxruntime:onnxruntime-android:1.20.0")
}
