// Decides requests with iam-simulate: JSON on standard input and output, see second_opinion.py.
import { readFileSync } from "node:fs";
import { createValidatedPolicy, validateIdentityPolicy } from "@cloud-copilot/iam-policy";
import { runSimulation, runUnsafeSimulation } from "@cloud-copilot/iam-simulate";

const { policies, requests } = JSON.parse(readFileSync(0, "utf8"));
const validated = policies.map((policy) => createValidatedPolicy(policy, validateIdentityPolicy));
// To look up an action's resource types and condition keys takes longer than to decide: once for the same request of many roles
const applicable = new Map();
const decisions = [];
for (const { identityPolicy, resourcePolicy, ...request } of requests) {
  const simulation = {
    request,
    identityPolicies: [{ name: "role", policy: validated[identityPolicy] }],
    resourcePolicy,
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  };
  const asked = JSON.stringify(request);
  if (!resourcePolicy && applicable.has(asked)) {
    const contextVariables = applicable.get(asked);
    decisions.push(runUnsafeSimulation({ ...simulation, request: { ...request, contextVariables } }, {}));
    continue;
  }
  const result = await runSimulation(simulation, {});
  decisions.push(result.resultType === "error" ? `error: ${JSON.stringify(result.errors)}` : result.overallResult);
  // The other function knows neither actions without a resource nor policies without a name
  if (result.resultType === "single" && request.resource.resource !== "*" && !resourcePolicy) {
    const ignored = new Set(result.result.ignoredContextKeys);
    const entries = Object.entries(request.contextVariables).filter(([key]) => !ignored.has(key));
    applicable.set(asked, Object.fromEntries(entries));
  }
}
process.stdout.write(JSON.stringify(decisions));
