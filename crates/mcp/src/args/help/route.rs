//! Help of `mcp route`.

/// Below `mcp route --help`.
pub(in crate::args) const ROUTE: &str = "\
Examples:
  mcp route diff -f routes.yaml
  mcp route apply -f routes.yaml
  mcp route list

What routes and policies can say is in docs/routes.md. They hold on every gateway a moment after they are written.";

/// Below `mcp route apply --help`.
pub(in crate::args) const APPLY: &str = "\
Examples:
  mcp route apply -f routes.yaml
  mcp route apply -f policies.yaml -f routes.yaml --dry-run

A file holds routes and policies, one after another between lines of `---`, for instance
  id: shop-canary
  match: {path: {prefix: /shop}}
  forward:
    targets: [{service: shop, weight: 99}, {service: shop-canary, weight: 1}]
  policies: [public]
  ---
  kind: policy
  id: public
  settings: {timeout: 5s}

Policies are written first, whatever their place. What is stored already as it stands is not written again. With a
`version` a record is only written over that version.";

/// Below `mcp route diff --help`.
pub(in crate::args) const DIFF: &str = "\
Examples:
  mcp route diff -f routes.yaml              # exit code 1 when something would change";

/// Below `mcp route list --help`.
pub(in crate::args) const LIST: &str = "\
Examples:
  mcp route list
  mcp route list -o json | jq -r '.routes[].id'";

/// Below `mcp route get --help`.
pub(in crate::args) const GET: &str = "\
Examples:
  mcp route get shop-canary
  mcp route get policy/public -o json > public.json   # edit, then: mcp route apply -f public.json";

/// Below `mcp route delete --help`.
pub(in crate::args) const DELETE: &str = "\
Examples:
  mcp route delete shop-canary
  mcp route delete shop-canary policy/public          # a policy goes after the routes that name it";
