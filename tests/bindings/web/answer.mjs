// Runs an artifact's graphs with ONNX Runtime Web (WebAssembly): answer.mjs ARTIFACT < ROWS. ROWS is a list of inputs,
// each the trunk's input tensors as {name: [ids of one row]}; printed is, per row, {router_logits, logits: [per width]}.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";

const folder = process.argv[2];
const manifest = JSON.parse(readFileSync(join(folder, "manifest.json")));
const weights = manifest.files.filter((one) => one.file === "weights.bin").map((one) => one.file);
ort.env.wasm.numThreads = 1;

function load(graph) {
  const externalData = weights.map((path) => ({ path, data: readFileSync(join(folder, path)) }));
  return ort.InferenceSession.create(readFileSync(join(folder, graph.file)), { externalData });
}

function tensor(values) {
  return new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
}

const trunk = await load(manifest.graphs.find((graph) => graph.role === "trunk"));
const graphs = manifest.graphs.filter((graph) => graph.role === "tail").sort((a, b) => a.width - b.width);
const tails = [];
for (const graph of graphs) tails.push(await load(graph)); // one by one: the WebAssembly module starts with the first

const answers = [];
for (const row of JSON.parse(readFileSync(0))) {
  const inputs = Object.fromEntries(Object.entries(row).map(([name, values]) => [name, tensor(values)]));
  const { hidden, router_logits } = await trunk.run(inputs);
  const logits = [];
  for (const tail of tails) {
    const found = await tail.run({ hidden, attention_mask: inputs.attention_mask });
    logits.push(Array.from(found.logits.data));
  }
  answers.push({ router_logits: Array.from(router_logits.data), logits });
}
console.log(JSON.stringify(answers));
