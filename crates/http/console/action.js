/** One action: how far it has come, to how many it could not be done and why, and ending it. */

import { call, get, lacks, REFUSED } from "./api.js";
import { anyOf, invitesOf, kindOf } from "./action-kinds.js";
import { badge, code, facts, h, put, redraw, say, table, write } from "./dom.js";
import { ask } from "./dialog.js";
import { reading } from "./reading.js";
import { moment } from "./time.js";

/** How often one that runs is read, in milliseconds; one that has ended changes no more. */
const FOLLOW = 1500;

export const title = (id) => `Action ${id}`;

export async function open({ root, argument: id, signal }) {
  const path = `invites/actions/${encodeURIComponent(id)}`;
  const heading = h("h1", { tabindex: "-1" }, id);
  const about = h("div", { class: "about", role: "status" });
  const [doable, notice, progress] = [h("div", { class: "actions" }), h("div", {}), h("div", { class: "progress" })];
  const [failures, body] = [h("section", { class: "failures", "aria-labelledby": "failures" }), h("div", {})];
  let isRunning = true;
  let asker;
  const state = reading({ root, signal, every: () => (isRunning ? FOLLOW : null), read: async () => {
    const action = await get(path, {}, signal);
    if (asker === undefined) asker = await askerOf(id, signal);
    isRunning = action.state === "running";
    write(heading, `${kindOf(action).verb}: ${invitesOf(action.matched)}`);
    redraw(about, action.state, () => badge(action.state));
    redraw(doable, isRunning, () => (isRunning ? cancelButton(path, state.again) : null));
    redraw(notice, [action.state, action.held_up_by, action.cancelled_because], () => noticeOf(action));
    redraw(progress, action, progressOf);
    redraw(failures, action.failed, failuresOf);
    redraw(body, [action, asker, lacks("invites:all-tenants")], () => details(action, asker));
  } });
  // A key that may not name a tenant gets addresses without one.
  window.addEventListener(REFUSED, state.again, { signal });
  put(root, h("p", { class: "crumb" }, h("a", { href: "#/invites" }, "Invites")),
    h("div", { class: "head" }, heading, about, state.element), doable, notice, progress, failures, body);
  await state.first;
}

/** Who asked for it is known from the record of changes only, to keys that may read that and while it is among the newest entries. */
async function askerOf(id, signal) {
  if (lacks("audit:read")) return null;
  try {
    const { entries } = await get("admin/audit", { limit: 200 }, signal);
    return entries.find(({ action, target }) => action === "action.start" && target === id)?.actor ?? null;
  } catch (error) {
    // The action is worth showing all the same.
    if (error.status === 403) return null;
    throw error;
  }
}

function cancelButton(path, again) {
  return h("button", { type: "button", class: "danger-quiet", onclick: () => ask({
    title: "Cancel this action?",
    text: "Nothing more is done, but for the invite that it is just at. What was done stays done. It cannot be resumed, only begun anew.",
    submit: "Cancel it", cancel: "Let it go on", doing: "Cancelling…", danger: true,
    run: async () => {
      const { data } = await call("DELETE", path);
      say(data.state === "cancelled" ? "The action is cancelled." : "The action had come to its end before.");
      await again();
    },
  }) }, "Cancel…");
}

/** What a code means is said on a page of the gateway, which gets a tab without the key. */
const meaningOf = (word) => h("a", { href: `../problems/${encodeURIComponent(word)}`, target: "_blank", rel: "noopener" }, code(word));

function noticeOf({ state, held_up_by: heldUpBy, cancelled_because: because }) {
  if (state === "cancelled") {
    return h("div", { class: "notice" }, h("p", { class: "notice-title" }, "It was ended before it had come to all"), because ? h("p", {}, `Because ${because}.`) : null);
  }
  if (state !== "running" || !heldUpBy) return null;
  return h("div", { class: "notice warn" }, h("p", { class: "notice-title" }, "It is held up by ", meaningOf(heldUpBy)),
    h("p", {}, "It tries again by itself, every 15 seconds at the latest. An action for one provider alone does not wait for another one."));
}

const failedOf = ({ failed }) => Object.values(failed).reduce((sum, count) => sum + count, 0);

function progressOf(action) {
  const failed = failedOf(action);
  const left = Math.max(0, action.matched - action.succeeded - failed);
  const said = [
    `${action.succeeded} of ${action.matched} ${kindOf(action).done}`, failed ? `${failed} could not be` : null,
    left ? { running: `${left} to come`, completed: `${left} had changed before it came to them`, cancelled: `${left} left as they were` }[action.state] : null,
  ].filter(Boolean).join(", ");
  // One that has ended fills the bar, although some had changed before.
  const value = action.state === "completed" ? action.matched : action.succeeded + failed;
  return [h("progress", { max: Math.max(1, action.matched), value, "aria-label": "How far it has come" }), h("p", {}, `${said}.`),
    action.state === "running" ? h("p", { class: "muted small" }, "It goes on without this page, whose address leads back to it.") : null];
}

function failuresOf(failed) {
  const rows = Object.entries(failed).map(([word, count]) => ({ word, count })).sort((one, other) => other.count - one.count);
  return rows.length ? [h("h2", { id: "failures" }, "Could not be done"), table({ caption: "To how many it could not be done, by why", rows, columns: [
    { label: "Why", class: "grow", cell: ({ word }) => meaningOf(word) }, { label: "Invites", class: "number", cell: ({ count }) => count },
  ] })] : null;
}

function details(action, asker) {
  const { filter } = action;
  const labels = Object.entries(filter.label);
  const hasEnded = action.state !== "running";
  const tags = (values) => (values.length ? values.map((value) => h("span", { class: "tag" }, value)) : null);
  return h("div", { class: "columns" },
    h("section", { class: "card" }, h("h2", {}, "Action"), facts([
      ["What is done", kindOf(action).meaning], ["In doubt before", moment(action.as_of)], ["Begun", moment(action.created_at)],
      ["Asked for by", asker ?? (lacks("audit:read") ? null : ["see ", h("a", { href: "#/audit" }, "Audit")])],
      ["Ended", moment(action.ended_at)], ["Id", code(action.id)],
    ])),
    h("section", { class: "card" }, h("h2", {}, "To which invites"), facts([
      ["Status", anyOf(filter.status)], ["Provider", tags(filter.providers) ?? "any"], ["Error", tags(filter.error_code)],
      ["Labels", tags(labels.map(([name, value]) => (hasEnded ? name : `${name}: ${value}`)))],
      ["Batch", filter.batch_id && code(filter.batch_id)], ["Tenant", filter.tenant ?? "any"],
      ["Created after", moment(filter.created_after)], ["Created before", moment(filter.created_before)], ["Updated after", moment(filter.updated_after)],
    ]),
    h("p", {}, h("a", { href: addressOf(action, filter.status) }, "Those that match now"), " · ",
      h("a", { href: addressOf(action, []) }, "Those of any status")),
    hasEnded && labels.length ? h("p", { class: "muted small" }, "The values of labels are not kept once it has ended, so that these lists leave the labels out.") : null,
    filter.providers.length > 1 ? h("p", { class: "muted small" }, "A list is of one provider or all: these are of all that the key may see.") : null));
}

/** The search for its invites, as far as one can say it. */
function addressOf({ state, filter }, statuses) {
  const query = new URLSearchParams();
  for (const name of ["batch_id", "created_after", "created_before", "updated_after"]) if (filter[name]) query.set(name, filter[name]);
  if (filter.tenant && !lacks("invites:all-tenants")) query.set("tenant", filter.tenant);
  if (filter.providers.length === 1) query.set("provider", filter.providers[0]);
  for (const word of filter.error_code) query.append("error_code", word);
  if (state === "running") for (const [name, value] of Object.entries(filter.label)) query.append("label", `${name}:${value}`);
  for (const status of statuses) query.append("status", status);
  return query.size ? `#/invites?${query}` : "#/invites";
}
