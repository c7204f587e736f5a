// Decides requests with iam-simulate: JSON on standard input and output, see second_opinion.py.
import { readFileSync } from "node:fs";
import { createValidatedPolicy, validateIdentityPolicy } from "@cloud-copilot/iam-policy";
import { runSimulation } from "@cloud-copilot/iam-simulate";

const { policies, requests } = JSON.parse(readFileSync(0, "utf8"));
const validated = policies.map((policy) => createValidatedPolicy(policy, validateIdentityPolicy));
const decisions = [];
for (const { identityPolicy, resourcePolicy, ...request } of requests) {
  const simulation = {
    request,
    identityPolicies: [{ name: "role", policy: validated[identityPolicy] }],
    resourcePolicy,
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  };
  const result = await runSimulation(simulation, {});
  decisions.push(result.resultType === "error" ? `error: ${JSON.stringify(result.errors)}` : result.overallResult);
}
process.stdout.write(JSON.stringify(decisions));
