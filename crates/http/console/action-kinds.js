/** What can be done to many invites at once, and to which, in words. */

import { words } from "./dom.js";

const FOUND = "No call creates anything. For each the provider is asked once, to learn its id there.";
const ABSENT = "No call is made. They can be retried then.";

/**
 * By the choice that a person makes. `action` and `status` are what the API calls it, `statuses` are those
 * that it can be done to there.
 */
export const KINDS = {
  withdraw: {
    action: "withdraw", verb: "Withdraw", done: "withdrawn", danger: true, statuses: ["queued", "pending", "sent"],
    meaning: "Those that wait are never sent. The others are withdrawn at their providers, and nobody can accept them any more; one whose provider cannot withdraw it stays as it is. This cannot be taken back.",
  },
  refresh: {
    action: "refresh", verb: "Refresh", done: "asked about", statuses: ["unknown", "awaiting_approval", "pending", "sent"],
    meaning: "Their providers are asked what became of them. Nothing is changed there.",
  },
  retry: {
    action: "retry", verb: "Retry", done: "queued again", statuses: ["failed"],
    meaning: "They go back into their providers' queues and are sent when their turn comes. Each counts as another invite of the key. Those that may have been sent after all are left as they are.",
  },
  found: {
    action: "settle", status: "pending", verb: "Settle as found", done: "recorded as pending", danger: true, statuses: ["unknown"],
    meaning: `They are recorded as pending, because somebody found them at their provider. ${FOUND}`, looked: "found every one of them there",
  },
  absent: {
    action: "settle", status: "failed", verb: "Settle as absent", done: "recorded as failed", danger: true, statuses: ["unknown"],
    meaning: `They are recorded as failed, because somebody looked for them at their provider and they are not there. ${ABSENT}`, looked: "found none of them there",
  },
};

/** What was chosen for an action that the API shows. */
export const kindOf = ({ action, status }) =>
  Object.values(KINDS).find((kind) => kind.action === action && (kind.status ?? null) === status);

export const invitesOf = (count) => (count === 1 ? "1 invite" : `${count} invites`);

/** `queued, pending or sent`. */
export function anyOf(statuses) {
  const named = statuses.map(words);
  return named.length < 2 ? named.join("") : `${named.slice(0, -1).join(", ")} or ${named.at(-1)}`;
}
