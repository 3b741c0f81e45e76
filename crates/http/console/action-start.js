/**
 * Doing something to all invites that a search matches: what can be chosen, how many it would be, and
 * beginning it once that number is confirmed. What became of it is a page of its own, `action.js`.
 */

import { call, lacks, Problem } from "./api.js";
import { anyOf, invitesOf, KINDS } from "./action-kinds.js";
import { check, field, h, say, words } from "./dom.js";
import { ask } from "./dialog.js";
import { moment } from "./time.js";

/** The filters of a search that an action does not take, by their names there. */
const REFUSED = { email: "email", external_id: "external id", unreadable: "unreadable" };
const SINGLE = ["batch_id", "provider", "created_after", "created_before", "updated_after", "tenant"];
/** From how many invites on their number has to be typed. */
const MANY = 10;

/**
 * The way to it; nothing for a key that may not.
 * @param {URLSearchParams} query the search
 */
export function actOnAll(query) {
  if (lacks("invites:write") || lacks("invites:read")) return null;
  const refused = Object.keys(REFUSED).filter((name) => given(query, name).length);
  if (!refused.length) return h("button", { type: "button", onclick: () => choose(query) }, "Act on all of these…");
  const other = new URLSearchParams(query);
  for (const name of [...refused, "cursor"]) other.delete(name);
  return h("p", { class: "muted small" }, "Nothing can be done to all of these together: the filter is kept, so it may name nobody, and it takes no ",
    refused.map((name) => REFUSED[name]).join(" or "), ". Open an invite to act on it, or ",
    h("a", { href: `#/invites${other.size ? `?${other}` : ""}` }, "search without that"), ".");
}

/** The API takes an empty parameter for none. */
const given = (query, name) => query.getAll(name).filter((value) => value !== "");

/** Of the statuses that were searched for those that it can be done to, and the others. */
function fitting(kind, query) {
  const searched = given(query, "status");
  return {
    statuses: searched.length ? kind.statuses.filter((status) => searched.includes(status)) : kind.statuses,
    others: searched.filter((status) => !kind.statuses.includes(status)),
  };
}

function filterOf(kind, query) {
  const filter = { status: fitting(kind, query).statuses };
  for (const name of SINGLE) if (given(query, name).length) [filter[name]] = given(query, name);
  const [codes, labels] = [given(query, "error_code"), given(query, "label")];
  if (codes.length) filter.error_code = codes;
  if (labels.length) filter.label = Object.fromEntries(labels.map(nameAndValue));
  return filter;
}

function nameAndValue(label) {
  const colon = label.indexOf(":");
  return [label.slice(0, colon), label.slice(colon + 1)];
}

/** Asks what to do, and counts; then it is asked whether to begin. */
async function choose(query) {
  let wanted = null;
  let counted = null;
  const isDone = await ask({
    title: "Act on all of these", text: scopeOf(query), fields: [choices(query)], submit: "Count them", doing: "Counting…",
    run: async (form) => {
      const kind = KINDS[form.get("kind")];
      wanted = { kind, body: { action: kind.action, status: kind.status, filter: filterOf(kind, query) } };
      counted = await count(wanted);
      if (counted.matched === 0) throw none(kind);
    },
  });
  if (isDone) await begin(wanted, counted);
}

/** Which ones, as nobody sees all of them. */
function scopeOf(query) {
  const set = ["status", "error_code", "label", ...SINGLE].flatMap((name) => given(query, name).map((value) => [name, value]));
  if (!set.length) return h("strong", {}, "No filter is set: this is for all invites that the key may see, not only for those on this page.");
  return [["This is for all invites that match, not only for those on this page: ",
    set.map(([name, value]) => h("span", { class: "tag" }, `${words(name)}: ${name === "status" ? words(value) : value}`))]];
}

function choices(query) {
  const option = ([name, kind]) => {
    const { statuses, others } = fitting(kind, query);
    const isOffered = statuses.length > 0;
    const note = isOffered ? [`Done to those that are ${anyOf(statuses)}.`, others.length ? ` Those that are ${anyOf(others)} stay as they are.` : null,
      kind.looked && given(query, "status").length !== 1 ? " To see which these are, search for that status first." : null]
      : `Not for these: only for those that are ${anyOf(kind.statuses)}.`;
    return h("label", { class: "check" }, h("input", { type: "radio", name: "kind", value: name, required: true, disabled: !isOffered }),
      h("span", { class: isOffered ? null : "muted" }, kind.verb, h("span", { class: "hint" }, note)));
  };
  return h("fieldset", {}, h("legend", {}, "What to do"), Object.entries(KINDS).map(option));
}

/** `as_of` is kept when it is counted again: what somebody looked at since the first count still holds. */
async function count({ body }, asOf = null) {
  const asked = { ...body, dry_run: true, ...asOf && { as_of: asOf } };
  return (await call("POST", "invites/actions", { body: asked })).data;
}

const none = (kind) => new Problem({
  title: "There is nothing to do", detail: `None of them is ${anyOf(kind.statuses)} now, as far as the filters allow. Nothing was done.`,
});

/** Asks until it is begun or not wanted: as often as the number turns out to be another. */
async function begin(wanted, first) {
  let [counted, before] = [first, null];
  while (counted) {
    let [started, again] = [null, null];
    const isDone = await ask({ ...question(wanted.kind, counted, before), run: async () => {
      const { matched, as_of: asOf } = counted;
      const body = { ...wanted.body, confirm: matched, ...asOf && { as_of: asOf } };
      try {
        started = (await call("POST", "invites/actions", { body })).data;
      } catch (error) {
        if (error.code !== "count-differs") throw error;
        again = await count(wanted, asOf);
        if (again.matched === 0) throw none(wanted.kind);
      }
    } });
    if (isDone && started) {
      say("It has begun, and goes on by itself. The address of this page leads back to it.", "good");
      location.hash = `#/actions/${encodeURIComponent(started.id)}`;
    }
    [before, counted] = [counted, isDone ? again : null];
  }
}

function question(kind, { matched, as_of: asOf }, before) {
  const changed = before && h("div", { class: "notice warn", role: "alert" },
    h("p", {}, `Nothing was done yet: the number was ${before.matched} when they were counted, and is ${matched} now.`));
  const looked = asOf && h("div", { class: "notice warn" },
    h("p", { class: "notice-title" }, "Look at the provider now, before you go on"),
    h("p", {}, "The gateway takes your word for it and stops looking. Only those are settled that were in doubt when they were counted, at ", moment(asOf), ", and still are for the same call."));
  const typed = matched > MANY && field(`Type ${matched} to go on`, h("input", { name: "number", required: true, pattern: String(matched),
    title: String(matched), inputmode: "numeric", autocomplete: "off" }));
  return {
    title: `${kind.verb}: ${invitesOf(matched)}?`,
    text: [kind.meaning, "It goes on by itself, also when the console is closed, until it is completed or somebody cancels it. What was done by then stays done."],
    fields: [changed, looked, asOf && check(`I looked there after that moment, and ${kind.looked}`, { name: "looked", required: true }), typed],
    submit: `${kind.verb}: ${invitesOf(matched)}`, doing: "Beginning…", danger: kind.danger,
  };
}
