// swift-tools-version: 5.9
// An app for Xcode. The artifact is a folder named `artifact` in here; see ../README.md.
import AppleProductTypes
import PackageDescription

let package = Package(
    name: "Example",
    platforms: [.iOS(.v17)],
    products: [
        .iOSApplication(
            name: "Example",
            targets: ["Example"],
            bundleIdentifier: "sharcs.edge.example",
            displayVersion: "1.0",
            bundleVersion: "1",
            supportedDeviceFamilies: [.phone, .pad],
            supportedInterfaceOrientations: [.portrait]
        )
    ],
    dependencies: [
        .package(path: ".."),
        .package(url: "https://github.com/microsoft/onnxruntime-swift-package-manager", from: "1.20.0"),
    ],
    targets: [
        .executableTarget(
            name: "Example",
            dependencies: [
                .product(name: "SharcsEdge", package: "ios"),
                .product(name: "onnxruntime", package: "onnxruntime-swift-package-manager"),
            ],
            path: ".",
            resources: [.copy("artifact")]
        )
    ]
)
