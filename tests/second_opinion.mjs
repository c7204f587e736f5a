// Evaluates JSONata expressions with the reference implementation, in the version that Step Functions supports.
// One case a line on stdin, {"expression", "states", "variables", "millis"}; one result a line on stdout, {"value"} or {"error"}.
// https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html

import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import jsonata from "jsonata";

// What Step Functions adds. Its $random and $uuid are left out: nothing that depends on chance can be compared.
const functions = {
  parse: (text) => {
    if (typeof text !== "string") throw new TypeError("$parse takes text");
    return JSON.parse(text);
  },
  partition: (array, size) =>
    Array.from({ length: Math.ceil(array.length / Math.floor(size)) }, (_, index) =>
      array.slice(index * Math.floor(size), (index + 1) * Math.floor(size)),
    ),
  range: (start, end, step) => {
    [start, end, step] = [start, end, step].map(Math.floor);
    return Array.from({ length: Math.max(0, Math.floor((end - start) / step) + 1) }, (_, index) => start + index * step);
  },
  hash: (text, algorithm) => createHash(algorithm.replace("-", "")).update(text, "utf8").digest("hex"),
};

function parse(expression) {
  const parsed = jsonata(expression);
  for (const [name, implementation] of Object.entries(functions)) parsed.registerFunction(name, implementation);
  // And what it takes away
  parsed.assign("eval", undefined);
  return parsed;
}

const parsed = new Map(); // each expression is evaluated for many inputs

async function evaluate({ expression, states, variables, millis }) {
  try {
    if (!parsed.has(expression)) parsed.set(expression, parse(expression));
    const clock = { millis: () => millis, now: () => new Date(millis).toISOString() };
    const value = await parsed.get(expression).evaluate(undefined, { ...variables, ...clock, states });
    return value === undefined ? { error: "no result" } : { value };
  } catch (error) {
    return { error: error.code ?? String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await evaluate(JSON.parse(line)))}\n`);
}
