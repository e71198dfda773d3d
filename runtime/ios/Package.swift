// swift-tools-version: 5.9
// The C runtime: on a Mac the framework that build_xcframework.sh makes, elsewhere an installed library.
import PackageDescription

#if os(macOS)
    let runtime: Target = .binaryTarget(name: "CSharcsEdge", path: "build/CSharcsEdge.xcframework")
#else
    let runtime: Target = .systemLibrary(name: "CSharcsEdge", pkgConfig: "sharcs_edge")
#endif

let package = Package(
    name: "SharcsEdge",
    platforms: [.iOS(.v13), .macOS(.v11)],
    products: [.library(name: "SharcsEdge", targets: ["SharcsEdge"])],
    targets: [
        runtime,
        .target(
            name: "SharcsEdge",
            dependencies: ["CSharcsEdge"],
            linkerSettings: ["c++", "z"].map { .linkedLibrary($0, .when(platforms: [.iOS, .macOS])) }
        ),
        .testTarget(name: "SharcsEdgeTests", dependencies: ["SharcsEdge"]),
    ]
)
