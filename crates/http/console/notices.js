/** What somebody who looks at the configuration's state should know first. */

import { code, h, prose } from "./dom.js";
import { ago } from "./time.js";

const REFUSED = {
  file: "The file was changed and refused", api: "A document sent through the API was refused",
  restore: "A revision that was to be restored was refused", store: "A revision cannot be served here",
};

/** Notices from the `configuration` member of the list of providers. */
export function configurationNotices(configuration) {
  if (!configuration) return [];
  const notices = [];
  const refusal = configuration.last_refusal;
  if (refusal) {
    notices.push(h("div", { class: "notice warn" },
      h("p", { class: "notice-title" }, REFUSED[refusal.source] ?? "A changed document was refused", " ", ago(refusal.at)),
      h("p", {}, refusal.revision ? `Revision ${refusal.revision} is live elsewhere; this process serves revision ${configuration.live}.` : `Revision ${configuration.live} stays live.`),
      (refusal.findings ?? []).length ? h("ul", { class: "faults" }, refusal.findings.map((finding) => h("li", {},
        h("strong", {}, `Line ${finding.line}. `), prose(finding.detail)))) : null));
  }
  if (configuration.file?.differs) {
    notices.push(h("div", { class: "notice plain" },
      h("p", { class: "notice-title" }, "The file and the live document differ: ", code(configuration.file.path)),
      h("p", {}, "The last change wins, wherever it was made: the file takes over again when somebody edits it. To make them equal, copy the live document into the file.")));
  }
  return notices;
}
