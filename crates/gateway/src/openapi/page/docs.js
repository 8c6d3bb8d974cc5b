// Loads the document and shows it: services on the left, their methods on the right, drawn when somebody opens them.

import { fields, h, lazy, prose, resolve, typeText } from "./schemas.js";
import { credentials, explain, form } from "./try.js";

const METHODS = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];
const ASK_AGAIN_MS = 15_000;

const $ = (id) => document.getElementById(id);
const kept = {
  get: (name) => { try { return sessionStorage.getItem(name) || ""; } catch { return ""; } },
  set: (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* a browser that keeps nothing */ } },
};

let doc;
let tag = "";
const key = () => $("key").value.trim();

async function ask() {
  return fetch("openapi.json", { headers: credentials(key()), cache: "no-cache", credentials: "same-origin" });
}

async function load() {
  let response;
  try {
    response = await ask();
  } catch (error) {
    $("main").replaceChildren(h("h1", {}, "No answer"), h("p", {}, `The gateway cannot be reached: ${error.message}`));
    return;
  }
  const text = await response.text();
  if (!response.ok) {
    doc = undefined;
    $("list").replaceChildren();
    $("main").replaceChildren(h("h1", {}, response.status === 401 ? "Who are you?" : "The document is not for you"),
      h("p", {}, "What is registered here is shown to callers that may read it. Show an API key or a token: it stays in this tab, and is sent to this gateway only."),
      explain(undefined, response.status, text));
    $("key").focus();
    return;
  }
  tag = response.headers.get("etag");
  doc = JSON.parse(text);
  kept.set("key", key());
  $("news").hidden = true;
  draw();
}

/** Every way to call something: by service, then by gRPC method. */
function ways() {
  const services = new Map((doc.tags || []).map((entry) => [entry.name, new Map()]));
  const add = (method, path, operation) => {
    const service = services.get(operation.tags[0]);
    const name = operation["x-mcp-grpc"].path;
    if (!service.has(name)) service.set(name, []);
    service.get(name).push({ method, path, operation });
  };
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of METHODS) if (item[method]) add(method.toUpperCase(), path, item[method]);
    for (const [method, operation] of Object.entries(item["x-mcp-methods"] || {})) add(method, path, operation);
  }
  const isByName = (way) => way.path === way.operation["x-mcp-grpc"].path;
  for (const service of services.values()) {
    for (const list of service.values()) {
      list.sort((a, b) => isByName(a) - isByName(b) || a.operation.operationId.localeCompare(b.operation.operationId, "en", { numeric: true }));
    }
  }
  return services;
}

const isSocket = (way) => Boolean(way.operation.responses["101"]);
const verb = (way) => h("span", { class: `verb ${isSocket(way) ? "socket" : way.method.toLowerCase()}` }, isSocket(way) ? "WS" : way.method === "DELETE" ? "DEL" : way.method);
const anchor = (name) => `m${name}`;

function draw() {
  const services = ways();
  const list = [];
  const main = [h("h1", {}, doc.info.title), prose(doc.info.description)];
  for (const entry of doc.tags || []) {
    const methods = [...services.get(entry.name)].sort(([a], [b]) => a.localeCompare(b));
    const links = methods.map(([name, [way]]) => h("a", { href: `#${anchor(name)}`, "data-text": searched(name, services.get(entry.name).get(name)) },
      verb(way), h("span", { class: way.operation.deprecated ? "name old" : "name" }, name.split("/").pop())));
    list.push(h("details", { open: true }, h("summary", {}, entry.name), links));
    const builds = (entry["x-mcp-builds"] || []).map((build) => `${build.service} ${build.version}`);
    main.push(h("section", {}, h("h2", {}, entry.name),
      h("p", { class: "quiet" }, builds.join(", "), entry["x-mcp-deprecated"] && h("span", { class: "mark warn" }, "deprecated")), prose(entry.description),
      methods.map(([name, all]) => card(name, all))));
  }
  const silent = doc["x-mcp-undescribed"] || [];
  if (silent.length) {
    main.push(h("section", {}, h("h2", {}, "Only by gRPC"), h("p", { class: "quiet" }, "Registered too, but they do not serve gRPC reflection, so nothing is known of them."),
      h("ul", {}, silent.map((name) => h("li", {}, h("code", {}, name))))));
  }
  $("list").replaceChildren(...list);
  $("main").replaceChildren(...main.flat(Infinity));
  search();
  go();
}

function searched(name, all) {
  return [name, ...all.flatMap((way) => [way.path, way.method, way.operation.summary])].join(" ").toLowerCase();
}

function card(name, all) {
  const [way] = all;
  const details = h("details", { class: `card${way.operation.deprecated ? " old" : ""}`, id: anchor(name), "data-text": searched(name, all) },
    h("summary", {}, verb(way), h("span", { class: "path" }, way.path), way.operation.deprecated && h("span", { class: "mark warn" }, "deprecated"),
      h("span", { class: "gist" }, way.operation.summary)));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(h("div", { class: "inside" }, opened(name, all)));
  });
  return details;
}

function opened(name, all) {
  const view = h("div", {});
  const tabs = all.map((way) => h("button", { type: "button", onclick: () => show(way) }, `${isSocket(way) ? "WebSocket" : way.method} ${way.path}`));
  const show = (way) => {
    tabs.forEach((button, at) => button.setAttribute("aria-pressed", String(all[at] === way)));
    view.replaceChildren(...operation(way));
  };
  show(all[0]);
  const streams = { none: "", client: "a stream of requests", server: "a stream of answers", both: "streams both ways" }[all[0].operation["x-mcp-grpc"].streams];
  return [
    prose(all[0].operation.description),
    h("p", { class: "quiet" }, "gRPC ", h("code", {}, name.slice(1)), streams && `, ${streams}`, role(all[0])),
    all.length > 1 && h("div", { class: "tabs" }, tabs),
    view,
  ];
}

function role(way) {
  const needs = (way.operation.security || []).flatMap((entry) => Object.values(entry).flat());
  return needs.length > 0 && [", for the role ", h("code", {}, needs[0])];
}

function operation(way) {
  const parts = [];
  const parameters = way.operation.parameters || [];
  if (parameters.length) {
    parts.push(h("h3", {}, "Parameters"), h("table", { class: "parameters" }, parameters.map((parameter) => h("tr", {},
      h("td", {}, h("code", {}, parameter.name), parameter.required && h("div", {}, h("span", { class: "mark warn" }, "required"))),
      h("td", {}, h("span", { class: "type" }, typeText(doc, parameter.schema)), h("div", { class: "quiet" }, parameter.in)),
      h("td", {}, prose(parameter.description), choicesOf(parameter))))));
  }
  const socket = way.operation["x-mcp-websocket"];
  if (way.operation.requestBody) parts.push(h("h3", {}, "Body"), content(way.operation.requestBody));
  if (socket) {
    parts.push(h("h3", {}, "WebSocket"), h("p", {}, "Subprotocol ", h("code", {}, socket.subprotocol), ". Each text message is one message as JSON; ", socket.end, ". An error comes as ", socket.error, "."),
      titled("You send", socket.send), titled("You get", socket.receive));
  }
  const statuses = Object.entries(way.operation.responses).filter(([status]) => status !== "101");
  parts.push(h("h3", {}, "Answers"), statuses.map(([status, response]) => {
    const found = resolve(doc, response);
    return h("div", { class: "field" }, h("div", { class: "head" }, h("span", { class: "name" }, status === "default" ? "other" : status), h("span", { class: "about" }, found.description)),
      status === "200" ? content(found) : lazy("fields", () => content(found)));
  }));
  parts.push(form(doc, way, key));
  return parts.flat(Infinity);
}

function choicesOf(parameter) {
  const schema = resolve(doc, parameter.schema);
  const names = resolve(doc, schema.type === "array" ? schema.items : schema).enum;
  return names && h("div", { class: "quiet" }, names.map((name, at) => [at > 0 && ", ", h("code", {}, name)]));
}

function titled(title, schema) {
  return h("div", { class: "field" }, h("div", { class: "head" }, h("span", { class: "name" }, title), h("span", { class: "type" }, typeText(doc, schema))), fields(doc, schema));
}

function content(holder) {
  const kinds = Object.entries(holder.content || {});
  const [first] = kinds;
  if (!first) return h("div", { class: "about" }, "");
  const schema = first[1].schema && (first[1].schema.anyOf ? first[1].schema.anyOf[0] : first[1].schema);
  return h("div", {}, h("div", { class: "quiet" }, kinds.map(([kind], at) => [at > 0 && ", ", h("code", {}, kind)]), schema && [" ", h("span", { class: "type" }, typeText(doc, schema))]),
    schema && fields(doc, schema));
}

function search() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll("nav details, main section")) {
    let found = 0;
    for (const entry of group.querySelectorAll("[data-text]")) {
      const fits = words.every((word) => entry.dataset.text.includes(word));
      entry.hidden = !fits;
      found += fits;
    }
    group.hidden = words.length > 0 && found === 0;
  }
}

/** Opens what the address names. */
function go() {
  const id = decodeURIComponent(location.hash.slice(1));
  const found = id && $(id);
  for (const link of document.querySelectorAll("nav a")) link.classList.toggle("here", link.getAttribute("href") === `#${id}`);
  if (!found) return;
  found.hidden = false;
  found.open = true;
  found.scrollIntoView();
}

/** Says when something else is registered, without taking away what the reader has before them. */
async function lookAgain() {
  if (document.hidden || !doc) return;
  try {
    const response = await ask();
    if (response.ok && response.headers.get("etag") !== tag) {
      $("news").replaceChildren("What is registered has changed", h("button", { type: "button", onclick: load }, "Show"));
      $("news").hidden = false;
    }
  } catch {
    // The next time may be better.
  }
}

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  kept.set("theme", name);
}

$("key").value = kept.get("key");
theme(kept.get("theme"));
$("theme").addEventListener("click", () => {
  const isDark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(isDark ? "light" : "dark");
});
$("access").addEventListener("submit", (event) => { event.preventDefault(); load(); });
$("search").addEventListener("input", search);
addEventListener("hashchange", go);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) { event.preventDefault(); $("search").focus(); }
});
setInterval(lookAgain, ASK_AGAIN_MS);
load();
