// Draws JSON Schemas, and makes examples of them. Texts of the document go into text nodes only: nothing of them is markup.

const EXAMPLE_DEPTH_MAX = 4;

/** An element with attributes, listeners (`onclick: f`) and children: elements, texts, or nothing. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "open" || key === "hidden" || key === "disabled") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false && child !== ""));
  return element;
}

/** A comment: paragraphs, with `code` as such. */
export function prose(text, about = {}) {
  return (text || "").split(/\n\s*\n/).filter((part) => part.trim()).map((part) =>
    h("p", about, part.split(/(`[^`]+`)/).map((piece) =>
      piece.length > 2 && piece.startsWith("`") && piece.endsWith("`") ? h("code", {}, piece.slice(1, -1)) : piece)));
}

/** What a reference stands for. What stands beside it counts too. */
export function resolve(doc, schema) {
  if (!schema || !schema.$ref) return schema || {};
  const target = schema.$ref.split("/").slice(1).reduce((value, key) => value && value[key], doc) || {};
  const { $ref, ...beside } = schema;
  return { ...target, ...beside };
}

const short = (ref) => ref.split("/").pop();

/** The type in a few words. */
export function typeText(doc, schema) {
  if (!schema) return "any";
  if (schema.$ref) {
    const target = resolve(doc, schema);
    const plain = target.type && target.type !== "object" && !target.enum;
    return plain ? typeText(doc, target) : short(schema.$ref);
  }
  if (schema.type === "array") return `list of ${typeText(doc, schema.items)}`;
  if (schema.additionalProperties && typeof schema.additionalProperties === "object") {
    return `map of ${typeText(doc, schema.additionalProperties)}`;
  }
  if (schema.contentEncoding) return `bytes (${schema.contentEncoding})`;
  if (schema.oneOf) return schema.oneOf.map((part) => part.format || (part.enum ? part.enum.join(" | ") : part.type)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((part) => typeText(doc, part)).join(" | ");
  const types = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type;
  if (!types) return schema.enum ? "one of" : "any";
  return schema.format ? `${schema.format}${types === "integer" || types === "number" ? "" : ` (${types})`}` : types;
}

/** The schema whose fields are worth showing: of the message itself, of a list's elements, or of a map's values. */
function inside(doc, schema) {
  const found = resolve(doc, schema);
  if (found.type === "array") return inside(doc, found.items);
  if (found.additionalProperties && typeof found.additionalProperties === "object") return inside(doc, found.additionalProperties);
  return found;
}

function marks(field, required, choice) {
  return [
    required && h("span", { class: "mark warn" }, "required"),
    choice && h("span", { class: "mark", title: "At most one of these may be set" }, `one of ${choice.join(", ")}`),
    field.readOnly && h("span", { class: "mark" }, "only in answers"),
    field.writeOnly && h("span", { class: "mark" }, "only in requests"),
    field["x-mcp-immutable"] && h("span", { class: "mark" }, "never changes"),
    field.deprecated && h("span", { class: "mark warn" }, "deprecated"),
  ];
}

/** The groups of fields of which one may be set. */
function choices(schema) {
  const groups = (schema.allOf || []).filter((part) => part.oneOf);
  return groups.map((part) => part.oneOf.flatMap((way) => way.required || []));
}

function values(schema) {
  const texts = schema["x-mcp-values"] || {};
  return h("div", { class: "about" }, schema.enum.map((value, at) => [at > 0 && ", ", h("code", { title: texts[value] || false }, String(value))]));
}

/** The fields of a schema; those of messages in it are drawn when somebody opens them, so that types may refer to themselves. */
export function fields(doc, schema) {
  const found = inside(doc, schema);
  if (found.enum) return h("div", { class: "fields" }, prose(found.description, { class: "about" }), values(found));
  if (!found.properties || !Object.keys(found.properties).length) {
    return h("div", { class: "fields quiet" }, found.description || "no fields");
  }
  const required = new Set(found.required || []);
  const groups = choices(found);
  return h("div", { class: "fields" }, Object.entries(found.properties).map(([name, field]) => {
    const group = groups.find((names) => names.includes(name));
    const type = inside(doc, field);
    const more = type.properties && Object.keys(type.properties).length
      && lazy("fields", () => fields(doc, field));
    return h("div", { class: "field" },
      h("div", { class: "head" }, h("span", { class: field.deprecated ? "name old" : "name" }, name),
        h("span", { class: "type" }, typeText(doc, field)), marks({ ...type, ...field }, required.has(name), group)),
      prose(field.description, { class: "about" }), type.enum && values(type), more);
  }));
}

/** A part that is drawn when it is opened. */
export function lazy(title, draw) {
  const details = h("details", {}, h("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(draw());
  });
  return details;
}

/** A value that fits a schema. Of several ways the first; deep inside nothing. */
export function example(doc, schema, depth = 0) {
  const found = resolve(doc, schema);
  if (found.examples && found.examples.length) return found.examples[0];
  if (found.enum) return found.enum[found.enum.length > 1 ? 1 : 0];
  if (found.oneOf) return example(doc, found.oneOf[0], depth);
  if (found.anyOf) return example(doc, found.anyOf[0], depth);
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  switch (type) {
    case "integer": case "number": return 0;
    case "boolean": return false;
    case "null": return null;
    case "array": return depth >= EXAMPLE_DEPTH_MAX || isMessage(doc, found.items) && depth > 1 ? [] : [example(doc, found.items, depth + 1)];
    case "string": return text(found);
    case "object": return object(doc, found, depth);
    default: return {};
  }
}

function text(schema) {
  if (schema.format === "int64" || schema.format === "uint64") return "0";
  return "";
}

function isMessage(doc, schema) {
  return Boolean(resolve(doc, schema).properties);
}

function object(doc, schema, depth) {
  if (schema.additionalProperties && typeof schema.additionalProperties === "object") return {};
  if (depth >= EXAMPLE_DEPTH_MAX) return {};
  const skipped = new Set(choices(schema).flatMap((names) => names.slice(1)));
  const kept = Object.entries(schema.properties || {}).filter(([name, field]) => {
    const type = resolve(doc, field);
    const isOptional = !(schema.required || []).includes(name);
    return !skipped.has(name) && !type.readOnly && !(isOptional && (type.deprecated || depth > 1 && isMessage(doc, field)));
  });
  return Object.fromEntries(kept.map(([name, field]) => [name, example(doc, field, depth + 1)]));
}
