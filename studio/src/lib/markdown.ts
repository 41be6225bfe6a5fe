// Markdown as a model writes it -> safe HTML. Rendered first, then sanitised: nothing of a model's text can run.
import DOMPurify from "dompurify";
import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import css from "highlight.js/lib/languages/css";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import { Marked, type Tokens } from "marked";

const LANGUAGES = { bash, c, css, javascript, json, python, rust, sql, typescript, xml };
for (const [name, language] of Object.entries(LANGUAGES)) hljs.registerLanguage(name, language);

const marked = new Marked({ gfm: true, breaks: true });
marked.use({
  renderer: {
    code({ text, lang }: Tokens.Code): string {
      const language = (lang ?? "").trim().split(/\s/)[0] ?? "";
      const known = hljs.getLanguage(language) !== undefined;
      const inside = known ? hljs.highlight(text, { language }).value : escape(text);
      return `<pre tabindex="0"><code>${inside}</code></pre>`;
    },
  },
});

const RULES = {
  ALLOWED_TAGS: "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i li ol p pre s span strong sub sup table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["href", "class", "start", "align", "tabindex"],
  ALLOWED_URI_REGEXP: /^https?:/i,
};

/** Safe HTML of Markdown text. Pictures and everything that would fetch something are left out. breaks: lines stay lines. */
export function render(text: string, breaks = true): string {
  return DOMPurify.sanitize(marked.parse(text, { async: false, breaks }), RULES);
}

function escape(text: string): string {
  return text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign] ?? sign);
}
