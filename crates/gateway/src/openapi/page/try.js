// Calls what the page shows: requests with their answers, streams line by line, WebSockets message by message.

import { example, h, resolve, typeText } from "./schemas.js";

const SHOWN_MAX = 400_000;
const MESSAGES_MAX = 500;

/** The headers by which a key is shown; none without one. */
export function credentials(key) {
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** A form that calls an operation. `key` gives the key to show, `way` is `{method, path, operation}`. */
export function form(doc, way, key) {
  const socket = way.operation["x-mcp-websocket"];
  const isSocketOnly = Boolean(way.operation.responses["101"]);
  const inputs = (way.operation.parameters || []).map((parameter) => ({ parameter, input: control(doc, parameter) }));
  const body = textarea(doc, way, socket);
  const answer = h("div", { "aria-live": "polite" });
  const place = () => url(way, inputs);
  const stream = ((way.operation.responses["200"] || {}).content || {})["text/event-stream"];
  const events = stream && h("input", { type: "checkbox" });
  const send = !isSocketOnly && h("button", { type: "submit", class: "go" }, "Send");
  const open = socket && h("button", { type: "button", onclick: () => talk(answer, place(), body && body.value, Boolean(key()), doc) }, "Open a WebSocket");
  const copy = !isSocketOnly && h("button", { type: "button", onclick: () => copied(copy, curl(way, place(), body, key())) }, "Copy as curl");
  const grpc = h("button", { type: "button", onclick: () => copied(grpc, grpcurl(way, body)) }, "Copy as grpcurl");
  const onsubmit = (event) => {
    event.preventDefault();
    if (send) request(doc, { way, place: place(), body, key: key(), events: events && events.checked }, answer, send);
  };
  return h("form", { class: "try", onsubmit },
    h("h3", {}, "Try it"),
    inputs.length > 0 && h("div", { class: "inputs" }, inputs.map(({ parameter, input }) => h("label", {},
      h("span", {}, h("span", { class: "name" }, parameter.name), " ", h("span", { class: "quiet" }, parameter.in), parameter.required && h("span", { class: "quiet" }, ", required")), input))),
    body && h("label", {}, isSocketOnly ? "message" : "body", body),
    h("div", { class: "row" }, send, open, copy, grpc, events && h("label", { class: "row" }, events, "as server-sent events")),
    answer);
}

function control(doc, parameter) {
  const schema = resolve(doc, parameter.schema);
  const attributes = { placeholder: typeText(doc, parameter.schema), spellcheck: "false" };
  const isList = schema.type === "array";
  const names = resolve(doc, isList ? schema.items : schema).enum || (schema.type === "boolean" ? ["true", "false"] : undefined);
  if (names && !isList) return h("select", {}, h("option", { value: "" }, ""), names.map((name) => h("option", { value: name }, name)));
  return h("input", { ...attributes, "data-list": isList, title: isList ? "several with commas between them" : false });
}

function textarea(doc, way, socket) {
  const sent = way.operation.requestBody;
  if (!sent && !socket) return undefined;
  const json = sent && sent.content["application/json"];
  const schema = json ? json.schema : socket && socket.send;
  if (!sent && !way.operation.responses["101"]) return undefined;
  const text = schema ? JSON.stringify(example(doc, schema), null, 2) : "";
  return h("textarea", { spellcheck: "false", value: text, rows: Math.min(18, text.split("\n").length + 1) });
}

/** Path and query with what was typed. */
function url(way, inputs) {
  let path = way.path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    const value = input.value;
    if (parameter.in === "path") {
      const many = parameter["x-mcp-segments"] === "any";
      const text = many ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value);
      path = path.replace(`{${parameter.name}}`, () => text);
    } else if (value !== "") {
      const values = input.dataset.list === undefined ? [value] : value.split(",").map((part) => part.trim());
      for (const part of values) query.append(parameter.name, part);
    }
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function hasBody(way) {
  return Boolean(way.operation.requestBody) && way.method !== "GET" && way.method !== "HEAD";
}

function headers(way, key, events) {
  const content = way.operation.requestBody && way.operation.requestBody.content["application/json"];
  return {
    ...credentials(key),
    ...(hasBody(way) && content ? { "content-type": "application/json" } : {}),
    ...(events ? { accept: "text/event-stream" } : {}),
  };
}

async function request(doc, { way, place, body, key, events }, answer, button) {
  const stop = new AbortController();
  const cancel = h("button", { type: "button", onclick: () => stop.abort() }, "Stop");
  const begun = performance.now();
  button.disabled = true;
  answer.replaceChildren(h("div", { class: "row" }, h("span", { class: "quiet" }, `${way.method} ${place}`), cancel));
  try {
    const response = await fetch(place, {
      method: way.method, headers: headers(way, key, events), cache: "no-store", signal: stop.signal, credentials: "same-origin",
      body: hasBody(way) && body ? body.value : undefined,
    });
    const took = Math.round(performance.now() - begun);
    const view = h("pre", {});
    answer.replaceChildren(
      h("div", { class: "row" }, h("span", { class: `status ${response.ok ? "good" : "bad"}` }, `${response.status} ${response.statusText}`),
        h("span", { class: "quiet" }, `${took} ms, ${response.headers.get("content-type") || "no content"}`), cancel),
      view, headersOf(response));
    const text = await read(response, view);
    cancel.remove();
    if (!response.ok) answer.append(explain(doc, response.status, text));
  } catch (error) {
    const why = error.name === "AbortError" ? "stopped" : `no answer: ${error.message}. Is the gateway there?`;
    cancel.remove();
    answer.append(h("div", { class: "panel" }, why));
  } finally {
    button.disabled = false;
  }
}

/** Shows a body as it comes. */
async function read(response, view) {
  const type = response.headers.get("content-type") || "";
  if (!/json|text|event-stream/.test(type)) {
    const blob = await response.blob();
    view.textContent = `${blob.size} bytes`;
    if (blob.size) view.append("\n", h("a", { href: URL.createObjectURL(blob), download: "answer" }, "save"));
    return "";
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    text += decoder.decode(value || new Uint8Array(), { stream: !done });
    view.textContent = text.length > SHOWN_MAX ? `…${text.slice(-SHOWN_MAX)}` : text;
    if (done) break;
  }
  if (type.startsWith("application/json")) view.textContent = pretty(text);
  if (!text) view.textContent = "(empty)";
  return text;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function headersOf(response) {
  const lines = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return h("details", {}, h("summary", { class: "quiet" }, "headers"), h("pre", {}, lines));
}

/** What an error means and what to do, by the catalogue in the document. */
export function explain(doc, status, text) {
  let error = {};
  try {
    error = JSON.parse(text);
  } catch {
    // Not ours: the status must do.
  }
  const about = ((doc && doc["x-mcp-errors"]) || {})[error.name];
  const reason = (error.details || []).map((detail) => detail.metadata && detail.metadata.reason).find(Boolean);
  const next = {
    401: "Put an API key or a token into the field at the top, then try again.",
    403: "Another key is needed: the message names the role.",
    404: "Check the path and the ids in it.",
    429: "Wait as `retry-after` says.",
    503: "The service is not there now. Try again in a moment.",
  }[status];
  return h("div", { class: "panel" },
    h("div", {}, h("b", {}, error.name || `HTTP ${status}`), error.code ? ` (${error.code})` : "", reason ? `, ${reason}` : ""),
    error.message && h("div", {}, error.message),
    about && h("div", { class: "quiet" }, about.text),
    h("div", { class: "quiet" }, next || "", error.retryable ? " The same request may succeed later." : ""));
}

function talk(answer, place, first, hasKey, doc) {
  const log = h("pre", {});
  const write = (mark, text) => {
    log.append(`${mark} ${text}\n`);
    while (log.childNodes.length > MESSAGES_MAX) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  };
  const socket = new WebSocket(new URL(place, location.href).href.replace(/^http/, "ws"), "mcp.json");
  const text = h("textarea", { spellcheck: "false", value: first || "{}", rows: 4 });
  const send = h("button", { type: "button", class: "go", disabled: true, onclick: () => { socket.send(text.value); write("→", text.value); } }, "Send");
  const end = h("button", { type: "button", disabled: true, onclick: () => { socket.send(""); write("→", "(end)"); } }, "End my side");
  const close = h("button", { type: "button", onclick: () => socket.close(1000) }, "Close");
  answer.replaceChildren(log, text, h("div", { class: "row" }, send, end, close));
  socket.onopen = () => { write("·", "open"); send.disabled = false; end.disabled = false; };
  socket.onmessage = (event) => write("←", event.data);
  socket.onclose = (event) => {
    write("·", `closed: ${event.code}${event.reason ? ` ${event.reason}` : ""}`);
    send.disabled = true;
    end.disabled = true;
    close.disabled = true;
    const about = (doc["x-mcp-errors"] || {})[event.reason];
    if (about) answer.append(h("div", { class: "panel" }, about.text));
    if (event.code === 1006 && hasKey) {
      answer.append(h("div", { class: "panel" }, "A browser cannot show a key when it opens a WebSocket. Use a program, or a certificate."));
    }
  };
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(way, place, body, key) {
  const parts = [`curl -X ${way.method} ${quoted(new URL(place, location.href).href)}`];
  if (key) parts.push(`-H "authorization: Bearer $MCP_TOKEN"`);
  if (hasBody(way) && body) parts.push(`-H 'content-type: application/json'`, `-d ${quoted(body.value)}`);
  return parts.join(" \\\n  ");
}

function grpcurl(way, body) {
  const plain = location.protocol === "https:" ? "" : "-plaintext ";
  const path = way.operation["x-mcp-grpc"].path.slice(1);
  return `grpcurl ${plain}-d ${quoted(body && body.value ? body.value : "{}")} ${location.host} ${path}`;
}

async function copied(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.after(h("pre", {}, text));
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}
