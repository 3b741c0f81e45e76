/** Showing what went wrong, all of it: title, detail, every fault, and what to quote to an operator. */

import { isAbort, Problem } from "./api.js";
import { code, h, prose, put } from "./dom.js";

const ADVICE = {
  not_sent: "Nothing was sent: it is safe to try again.",
  rejected: "The same again would be refused again.",
  throttled: "Later it may succeed.",
  unknown: "It may have taken effect.",
};

/**
 * @param {unknown} error
 * @param {string | null} [lead] what was being done
 * @param {...import("./dom.js").Child} more what follows, such as a way on
 */
export function problemView(error, lead, ...more) {
  const details = error instanceof Problem ? error.details : { title: "The console failed", detail: String(error) };
  return h("div", { class: "notice bad", role: "alert" },
    h("p", { class: "notice-title" }, lead ? `${lead}: ${details.title}` : details.title),
    explanation(details), more, small(details));
}

/** The same for the `error` of an invite. */
export function reasonView(reason, tone) {
  return h("div", { class: `notice ${tone}` },
    h("p", { class: "notice-title" }, reason.title ?? reason.code),
    explanation(reason), small(reason));
}

/** The detail, unless it only repeats or announces the faults that follow it, the faults, and what to do. */
function explanation({ detail, errors, outcome }) {
  const isRepeated = errors?.length && (detail?.includes("`errors`") || errors.length === 1 && detail?.includes(errors[0].detail));
  return [detail && !isRepeated ? h("p", {}, prose(detail)) : null, faults(errors),
    ADVICE[outcome] ? h("p", {}, ADVICE[outcome]) : null];
}

function faults(errors) {
  if (!errors?.length) return null;
  return h("ul", { class: "faults" }, errors.map((fault) => h("li", {},
    fault.line ? h("strong", {}, `Line ${fault.line}. `) : null,
    fault.pointer ? [code(fault.pointer), " "] : null, prose(fault.detail),
    fault.suggestion ? [" Did you mean ", code(fault.suggestion), "?"] : null)));
}

function small(details) {
  const parts = [
    details.code, details.status && `status ${details.status}`,
    details.provider && `provider ${details.provider}`,
    details.provider_code && `its code ${details.provider_code}`,
    details.provider_http_status && `its status ${details.provider_http_status}`,
    details.request_id && `request ${details.request_id}`,
  ].filter(Boolean);
  return parts.length ? h("p", { class: "small" }, parts.join(" · ")) : null;
}

/** Does `work`; if it fails, shows why in `place`. Returns whether it succeeded. */
export async function attempt(place, work, lead) {
  try {
    await work();
    return true;
  } catch (error) {
    if (isAbort(error)) return false;
    if (!(error instanceof Problem)) console.error(error);
    put(place, problemView(error, lead));
    return false;
  }
}
