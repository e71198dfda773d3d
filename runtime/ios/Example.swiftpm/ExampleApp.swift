import SharcsEdge
import SwiftUI
import UIKit

@main
struct ExampleApp: App {
    @State private var classifier = Classifier()
    @Environment(\.scenePhase) private var phase

    var body: some Scene {
        WindowGroup {
            ContentView(classifier: classifier)
                .task {
                    UIDevice.current.isBatteryMonitoringEnabled = true
                    classifier.load(from: .module)
                }
        }
        .onChange(of: phase) { classifier.push(conditions) }
    }

    /// iOS says nothing of a file system that the runtime could read: the app pushes what it knows.
    private var conditions: Conditions {
        let charge = UIDevice.current.batteryLevel
        let heat = ProcessInfo.processInfo.thermalState
        return Conditions(
            battery: charge < 0 ? nil : Double(charge), throttled: heat == .serious || heat == .critical,
            background: phase == .background)
    }
}

struct ContentView: View {
    let classifier: Classifier
    @State private var text = ""

    var body: some View {
        Form {
            TextField("a text", text: $text)
            Button("Answer") { classifier.predict(text) }
            Text(classifier.answer)
        }
    }
}
