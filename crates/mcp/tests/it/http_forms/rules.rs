//! The HTTP forms of all methods, read from their annotations. It shares no code with the gateway.

use std::collections::BTreeMap;

use http::Method;
use mcp_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};

/// The forms of each method that has any, by its full name: the HTTP method and the path, with variables in braces.
pub(super) fn all() -> BTreeMap<String, Vec<(Method, String)>> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let extension = pool.get_extension_by_name("google.api.http").expect("the annotation is in the set");
    let mut methods = BTreeMap::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        if let Some(rule) = options.get_extension(&extension).as_message().filter(|_| options.has_extension(&extension))
        {
            methods.insert(method.full_name().to_owned(), forms(rule));
        }
    }
    methods
}

fn forms(rule: &DynamicMessage) -> Vec<(Method, String)> {
    let form = |name: &str| {
        let path = rule.get_field_by_name(name)?.as_str()?.to_owned();
        (!path.is_empty()).then(|| (name.to_uppercase().parse().unwrap(), path))
    };
    let mut forms: Vec<_> = ["get", "post", "put", "patch", "delete"].into_iter().filter_map(form).collect();
    let more = rule.get_field_by_name("additional_bindings");
    let more = more.as_deref().and_then(Value::as_list).unwrap_or_default();
    forms.extend(more.iter().filter_map(Value::as_message).flat_map(self::forms));
    forms
}

/// The full name of the method that this request is for.
pub(super) fn method_at(method: &Method, path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |form: &(Method, String)| form.0 == *method && fits(&form.1, path);
    all().into_iter().find(|(_, forms)| forms.iter().any(fits)).map(|(name, _)| name)
}

/// True when the path is the template with something in the place of each variable.
fn fits(template: &str, path: &str) -> bool {
    let Some((literal, rest)) = template.split_once('{') else { return template == path };
    let (_, rest) = rest.split_once('}').expect("a brace is closed");
    let Some(path) = path.strip_prefix(literal) else { return false };
    let end = path.find(['/', ':']).unwrap_or(path.len());
    end > 0 && fits(rest, &path[end..])
}

#[test]
fn a_path_fits_one_form() {
    assert!(fits("/v1/tasks/{task_id}:wait", "/v1/tasks/7:wait"));
    assert!(!fits("/v1/tasks/{task_id}", "/v1/tasks/7:wait"));
    assert!(!fits("/v1/tasks/{task_id}", "/v1/tasks/"));
    let at = |method, path| method_at(&method, path).unwrap_or_default();
    assert_eq!(at(Method::GET, "/v1/tasks/7:wait?timeout=1s"), "mcp.scheduler.v1.TaskService.WaitTask");
    assert_eq!(at(Method::GET, "/v1/services/x/instances"), "mcp.registry.v1.RegistryService.Discover");
    assert!(all().len() >= 40, "{:?}", all().len());
}
