/**
 * What a person can do with an invite. Only what the API allows in its present status is offered;
 * the rest is named with the reason.
 */

import { call, lacks } from "./api.js";
import { check, field, h, put, say, words } from "./dom.js";
import { ask } from "./dialog.js";

const EXISTING = ["pending", "sent", "accepted", "declined"];
const ASKABLE = [...EXISTING, "awaiting_approval", "expired"];

/**
 * @param {any} invite
 * @param {any | null} capabilities the provider's; null where they are not known
 * @param {() => Promise<unknown>} again reads and shows the invite anew, after a change
 */
export function actions(invite, capabilities, again) {
  const path = `invites/${encodeURIComponent(invite.id)}`;
  const kind = invite.provider_kind;
  const offered = [];
  const withheld = [];
  const offer = (label, open, danger) => offered.push(h("button", { type: "button", class: danger ? "danger-quiet" : null, onclick: open }, label));
  const done = async (answer, what) => {
    say(`${what}: ${invite.email} is ${words(answer.data.status)}.`);
    await again();
  };

  const { status } = invite;
  if (!invite.provider) return h("p", { class: "muted" }, "It was refused as invalid: send a corrected one; this one stays as it is.");

  if (lacks("invites:write")) return h("p", { class: "muted" }, "The key may not change invites.");

  if (status === "failed") offer("Retry…", () => retry(invite, path, done));
  if (ASKABLE.includes(status) && (invite.provider_ref || invite.provider_data.activity_id)) offer("Ask the provider…", () => refresh(invite, path, done));
  if (status === "unknown") offer("Look now…", () => refresh(invite, path, done));

  const settable = capabilities?.update_status ?? EXISTING;
  if (status === "unknown") {
    offer("Settle by hand…", () => setStatus(invite, path, ["pending", "failed"], done));
    offer("Retry…", () => retryUnknown(invite, path, done), true);
  } else if (EXISTING.includes(status)) {
    const others = settable.filter((word) => word !== status);
    if (others.length) offer("Set status…", () => setStatus(invite, path, others, done));
    else withheld.push(`${kind} takes no status from outside`);
  }

  if (status === "queued" || (["pending", "sent"].includes(status) && (capabilities?.revoke ?? true))) {
    offer("Revoke…", () => revoke(invite, path, done), true);
  } else if (["pending", "sent"].includes(status)) withheld.push(`${kind} cannot withdraw an invite`);

  if (!offered.length) withheld.push(status === "sending" ? "a call is under way: its outcome decides what can be done" : `${words(status)} is final`);
  return [offered, withheld.length ? h("span", { class: "muted small" }, `Not offered: ${withheld.join("; ")}.`) : null];
}

function retry(invite, path, done) {
  return ask({
    title: "Retry this invite?",
    text: [`It goes back into the queue of ${invite.provider} and is sent to ${invite.email} when its turn comes.`,
      "If this person has a live invite there by now, the gateway refuses the retry."],
    submit: "Retry", doing: "Retrying…", run: async () => done(await call("POST", `${path}/retry`), "Retried"),
  });
}

function retryUnknown(invite, path, done) {
  return ask({
    title: "Retry although it may have been sent?",
    text: ["A call for this invite may have taken effect. The gateway is finding out and would not send again before it knows.",
      `Retrying now can invite ${invite.email} twice at ${invite.provider}.`],
    fields: [check("I accept that the person may be invited twice", { name: "risk", required: true })],
    submit: "Retry at this risk", doing: "Retrying…", danger: true,
    run: async () => done(await call("POST", `${path}/retry`, { body: { accept_duplicate_risk: true } }), "Retried"),
  });
}

function refresh(invite, path, done) {
  return ask({
    title: invite.status === "unknown" ? "Look for it now?" : "Ask the provider now?",
    text: `${invite.provider} is asked about this invite. Nothing is changed there.`,
    submit: "Ask", doing: "Asking…", run: async () => done(await call("POST", `${path}/refresh`), "Asked"),
  });
}

const MEANINGS = {
  pending: "found at the provider: recorded as pending, without a call",
  failed: "not found at the provider: recorded as failed, without a call; it can be retried then",
};

function setStatus(invite, path, words_, done) {
  const isUnknown = invite.status === "unknown";
  const options = words_.map((word, place) => h("label", { class: "check" },
    h("input", { type: "radio", name: "status", value: word, required: true, checked: place === 0 && !isUnknown }),
    h("span", {}, words(word), isUnknown ? h("span", { class: "hint" }, MEANINGS[word]) : null)));
  return ask({
    title: isUnknown ? "What did you find?" : "Set the status at the provider",
    text: isUnknown
      ? `Look at ${invite.provider} for ${invite.email} first: the gateway takes your word for it and stops looking.`
      : `${invite.provider} is told the new status of ${invite.email}.`,
    fields: [h("fieldset", {}, h("legend", { class: "unseen" }, "Status"), options)],
    submit: isUnknown ? "Record" : "Set", doing: isUnknown ? "Recording…" : "Setting…",
    run: async (form) => done(await call("PATCH", path, { body: { status: form.get("status") } }), "Set"),
  });
}

function revoke(invite, path, done) {
  const isHere = invite.status === "queued";
  const forceHint = "Only after looking at the provider yourself: its id may belong to another person's invite.";
  const force = h("div", { hidden: true }, field("Withdraw although it is not proven that the id is this invite's",
    h("input", { type: "checkbox", name: "force" }), forceHint));
  return ask({
    title: "Revoke this invite?",
    text: isHere ? `It has not been sent to ${invite.provider}; it never will be.`
      : `It is withdrawn at ${invite.provider}. ${invite.email} can no longer accept it. This cannot be taken back.`,
    fields: [force], submit: "Revoke", doing: "Revoking…", danger: true,
    run: async (form) => {
      try {
        const query = form.get("force") ? { force: "true" } : {};
        await done(await call("DELETE", path, { query }), "Revoked");
      } catch (error) {
        if (error.code === "pairing-unproven") force.hidden = false;
        throw error;
      }
    },
  });
}
