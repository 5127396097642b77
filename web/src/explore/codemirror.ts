// The PromQL editor: CodeMirror with completion and linting. A chunk of its own,
// loaded when Explore is; see editor.ts.

import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { forEachDiagnostic } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import { drawSelection, EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import { EqlRegex, EqlSingle, Neq, NeqRegex } from "@prometheus-io/lezer-promql";
import type { Client } from "../api.ts";
import type { Editing, EditingOptions } from "./editor.ts";
import { Names } from "./names.ts";

const operators: Record<number, string> = { [EqlSingle]: "=", [EqlRegex]: "=~", [Neq]: "!=", [NeqRegex]: "!~" };

const mono = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

// Colours are the page's own variables, so that dark and light are one theme.
const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--card)", border: "1px solid var(--line)", borderRadius: "6px", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-1px" },
  ".cm-scroller": { fontFamily: mono, lineHeight: "1.45", maxHeight: "240px", overflow: "auto" },
  ".cm-content": { padding: "7px 0", minHeight: "20px", caretColor: "var(--text)" },
  ".cm-line": { padding: "0 10px" },
  ".cm-placeholder": { color: "var(--dim)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "color-mix(in srgb, var(--accent) 28%, transparent)",
  },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "color-mix(in srgb, var(--accent) 22%, transparent)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "var(--bad-bg)" },
  ".cm-tooltip": {
    maxWidth: "min(560px, 92vw)",
    border: "1px solid var(--line)",
    borderRadius: "6px",
    backgroundColor: "var(--card)",
    color: "var(--text)",
    boxShadow: "0 6px 18px rgb(0 0 0 / 18%)",
    overflow: "hidden",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: mono, fontSize: "12.5px", maxHeight: "15em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 10px", overflow: "hidden", textOverflow: "ellipsis" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "color-mix(in srgb, var(--accent) 20%, var(--card))",
    color: "var(--text)",
  },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { color: "var(--dim)", fontStyle: "normal" },
  ".cm-completionInfo": { padding: "6px 10px", font: "13px/1.4 system-ui, sans-serif", overflow: "visible" },
  ".cm-diagnostic": { fontFamily: "system-ui, sans-serif", fontSize: "13px" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--bad-line)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad-line)" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--warn-line)" },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: "var(--code-keyword)", fontWeight: "600" },
  { tag: tags.function(tags.variableName), color: "var(--code-function)" },
  { tag: tags.labelName, color: "var(--code-label)" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: tags.number, color: "var(--code-number)" },
  { tag: tags.comment, color: "var(--dim)" },
]);

/** The first thing that the linter says, with its place. */
function firstDiagnostic(state: EditorState): string {
  let first = "";
  forEachDiagnostic(state, (d, from) => {
    if (first === "") first = `At character ${from + 1}: ${d.message}`;
  });
  return first;
}

/**
 * Typing over a selection, done here and not by the browser: Chromium would
 * keep the selected text's colours in a style attribute, which our policy
 * refuses, and each refusal is an error on the console.
 */
const typeOver = EditorView.domEventHandlers({
  beforeinput(e, view) {
    if (e.inputType !== "insertText" || e.data === null || view.composing) return false;
    // What the browser would replace: the editor hears of a new selection only afterwards.
    const range = e.getTargetRanges()[0];
    const { main } = view.state.selection;
    const from = range ? view.posAtDOM(range.startContainer, range.startOffset) : main.from;
    const to = range ? view.posAtDOM(range.endContainer, range.endOffset) : main.to;
    if (from === to) return false;
    const text = e.data;
    const insert = () =>
      view.state.update({ changes: { from, to, insert: text }, selection: { anchor: from + text.length }, userEvent: "input.type", scrollIntoView: true });
    const taken = view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, text, insert));
    if (!taken) view.dispatch(insert());
    e.preventDefault();
    return true;
  },
});

/** Makes an editor. It lives in a shadow root, where its styles are adopted style sheets, which our policy allows. */
export function codeMirror(client: Client, o: EditingOptions): Editing {
  const names = new Names(client, (type) => operators[type] ?? "=");
  const promql = new PromQLExtension().setComplete({ remote: names });
  const host = document.createElement("div");
  host.className = "editor";
  const root = host.attachShadow({ mode: "open", delegatesFocus: true });
  let said = "";
  const run = (): boolean => {
    o.onRun();
    return true;
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: o.value,
      selection: { anchor: Math.min(o.caret, o.value.length) },
      extensions: [
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        EditorView.lineWrapping,
        placeholder(o.placeholder),
        // Nothing is chosen as the list opens, so a key cannot take what its person has
        // not seen, which is what a delay of the list's keys is for: ours has none.
        autocompletion({ selectOnOpen: false, interactionDelay: 0, icons: false, maxRenderedOptions: 100 }),
        promql.asExtension(),
        syntaxHighlighting(colours),
        theme,
        typeOver,
        EditorView.contentAttributes.of({ "aria-label": o.label, spellcheck: "false", autocapitalize: "off" }),
        // An option that is chosen is taken by Enter or Tab; else Enter runs and Tab leaves.
        keymap.of([...completionKeymap, { key: "Tab", run: acceptCompletion }]),
        Prec.high(keymap.of([{ key: "Enter", run: (v) => acceptCompletion(v) || run(), shift: insertNewlineAndIndent }])),
        keymap.of([...closeBracketsKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.updateListener.of((u) => {
          if (u.docChanged) o.onChange();
          const now = firstDiagnostic(u.state);
          if (now !== said) o.onLint((said = now));
        }),
      ],
    }),
  });
  return {
    el: host,
    get value() {
      return view.state.doc.toString();
    },
    get focused() {
      return view.hasFocus;
    },
    focus: () => view.focus(),
    destroy() {
      promql.destroy();
      view.destroy();
    },
  };
}
