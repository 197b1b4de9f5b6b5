//! Settings against the JSON Schema that a module describes them with.
//!
//! This is for people who write settings: it names the key before the module is asked. It knows the part
//! of JSON Schema that settings use; a keyword that it does not know says nothing here, and the module's
//! own `validate-settings` has the last word.

use serde_json::{Map, Value};

use crate::SettingsProblem;

/// Problems that are reported at most.
const MAX_PROBLEMS: usize = 16;
/// Steps into a schema that refers to itself.
const MAX_DEPTH: usize = 64;

/// What some settings lack to be of the schema. Empty when nothing is known to be wrong.
#[must_use]
pub fn check_schema(schema: &Value, settings: &Value) -> Vec<SettingsProblem> {
    let mut check = Check {
        root: schema,
        problems: Vec::new(),
    };
    check.value(schema, settings, "", 0);
    check.problems.truncate(MAX_PROBLEMS);
    check.problems
}

struct Check<'a> {
    root: &'a Value,
    problems: Vec<SettingsProblem>,
}

impl<'a> Check<'a> {
    fn say(&mut self, path: &str, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(SettingsProblem {
                path: path.to_owned(),
                message: message.into(),
            });
        }
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &str, depth: usize) {
        // `true` and `false` are schemas too.
        if schema == &Value::Bool(false) {
            return self.say(path, "is not allowed here");
        }
        let Some(schema) = schema.as_object().filter(|_| depth < MAX_DEPTH) else {
            return;
        };
        if let Some(target) = schema.get("$ref").and_then(|target| self.target(target)) {
            self.value(target, value, path, depth + 1);
        }
        if !self.has_type(schema, value, path) {
            return;
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            all.iter()
                .for_each(|part| self.value(part, value, path, depth + 1));
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array)
            && !words.contains(value)
        {
            self.say(path, format!("is {value}, not one of {}", list(words)));
        }
        if let Some(word) = schema.get("const")
            && word != value
        {
            self.say(path, format!("is {value}, not {word}"));
        }
        match value {
            Value::Object(members) => self.object(schema, members, path, depth),
            Value::Array(items) => self.array(schema, items, path, depth),
            Value::String(text) => {
                self.count(
                    schema,
                    "minLength",
                    "maxLength",
                    text.chars().count(),
                    "characters",
                    path,
                );
            }
            Value::Number(_) => self.number(schema, value, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Only references into the same schema mean anything here.
    fn target(&self, target: &Value) -> Option<&'a Value> {
        self.root.pointer(target.as_str()?.strip_prefix('#')?)
    }

    fn has_type(&mut self, schema: &Map<String, Value>, value: &Value, path: &str) -> bool {
        let words: Vec<&str> = match schema.get("type") {
            Some(Value::String(word)) => vec![word],
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        let fits = words.iter().any(|word| match *word {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            // Settings have no other numbers than integers.
            "integer" | "number" => value.is_number(),
            _ => true,
        });
        if !fits {
            self.say(path, format!("is {}, not {}", kind(value), words.join(" or ")));
        }
        fits
    }

    fn object(
        &mut self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        path: &str,
        depth: usize,
    ) {
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(key) {
                self.say(&join(path, key), "is missing");
            }
        }
        let known = schema.get("properties").and_then(Value::as_object);
        // What patterns of names allow is the module's own affair.
        let more = match schema.get("additionalProperties") {
            Some(more) if !schema.contains_key("patternProperties") => more,
            _ => &Value::Bool(true),
        };
        for (key, value) in members {
            let path = join(path, key);
            match (known.and_then(|known| known.get(key)), more) {
                (Some(schema), _) => self.value(schema, value, &path, depth + 1),
                (None, Value::Bool(false)) => {
                    let keys: Vec<_> = known.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                    self.say(
                        &path,
                        format!("is not a key of this policy; it has {}", keys.join(", ")),
                    );
                }
                (None, more) => self.value(more, value, &path, depth + 1),
            }
        }
    }

    fn array(&mut self, schema: &Map<String, Value>, items: &[Value], path: &str, depth: usize) {
        self.count(schema, "minItems", "maxItems", items.len(), "items", path);
        if let Some(of_each) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.value(of_each, item, &format!("{path}[{index}]"), depth + 1);
            }
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let twice = items
                .iter()
                .enumerate()
                .find(|(index, item)| items.iter().take(*index).any(|earlier| earlier == *item));
            if let Some((index, _)) = twice {
                self.say(&format!("{path}[{index}]"), "stands twice");
            }
        }
    }

    fn count(
        &mut self,
        schema: &Map<String, Value>,
        least: &str,
        most: &str,
        count: usize,
        what: &str,
        path: &str,
    ) {
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
        if limit(least).is_some_and(|least| (count as u64) < least) {
            self.say(
                path,
                format!("has {count} {what}, fewer than {}", limit(least).unwrap_or(0)),
            );
        }
        if limit(most).is_some_and(|most| (count as u64) > most) {
            self.say(
                path,
                format!("has {count} {what}, more than {}", limit(most).unwrap_or(0)),
            );
        }
    }

    fn number(&mut self, schema: &Map<String, Value>, value: &Value, path: &str) {
        let whole = |value: &Value| {
            let signed = value.as_i64().map(i128::from);
            signed.or_else(|| value.as_u64().map(i128::from))
        };
        let limit = |key: &str| schema.get(key).and_then(whole);
        let Some(number) = whole(value) else {
            return;
        };
        type Fits = fn(i128, i128) -> bool;
        let rules: [(&str, Fits, &str); 4] = [
            ("minimum", |number, limit| number >= limit, "less than"),
            ("maximum", |number, limit| number <= limit, "more than"),
            (
                "exclusiveMinimum",
                |number, limit| number > limit,
                "not more than",
            ),
            (
                "exclusiveMaximum",
                |number, limit| number < limit,
                "not less than",
            ),
        ];
        for (key, fits, word) in rules {
            if let Some(limit) = limit(key).filter(|limit| !fits(number, *limit)) {
                self.say(path, format!("is {number}, {word} {limit}"));
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn list(words: &[Value]) -> String {
    let words: Vec<_> = words.iter().map(Value::to_string).collect();
    words.join(", ")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["domains"],
            "properties": {
                "domains": {
                    "type": "array", "minItems": 1, "uniqueItems": true,
                    "items": {"type": "string", "minLength": 1}
                },
                "source": {"enum": ["jwt", "mtls"]},
                "caps": {"type": "array", "items": {"$ref": "#/$defs/cap"}},
                "any": true,
                "none": false,
                "level": {"type": ["integer", "null"], "minimum": 1, "exclusiveMaximum": 10}
            },
            "$defs": {
                "cap": {
                    "type": "object", "required": ["max"], "additionalProperties": false,
                    "properties": {"max": {"type": "integer", "maximum": 60}}
                }
            }
        })
    }

    #[test]
    fn takes_what_fits() {
        for settings in [
            json!({"domains": ["a"]}),
            json!({"domains": ["a", "b"], "source": "jwt", "caps": [{"max": 60}], "any": 1, "level": null}),
        ] {
            assert_eq!(check_schema(&schema(), &settings), []);
        }
    }

    #[test]
    fn names_the_key_of_what_does_not() {
        let cases = [
            (json!([]), ": is an array, not object"),
            (json!({}), "domains: is missing"),
            (json!({"domains": "a"}), "domains: is a string, not array"),
            (json!({"domains": []}), "domains: has 0 items, fewer than 1"),
            (
                json!({"domains": ["a", ""]}),
                "domains[1]: has 0 characters, fewer than 1",
            ),
            (json!({"domains": ["a", "a"]}), "domains[1]: stands twice"),
            (
                json!({"domains": ["a"], "domain": 1}),
                "domain: is not a key of this policy",
            ),
            (
                json!({"domains": ["a"], "source": "x"}),
                "source: is \"x\", not one of \"jwt\", \"mtls\"",
            ),
            (
                json!({"domains": ["a"], "caps": [{"max": 61}]}),
                "caps[0].max: is 61, more than 60",
            ),
            (json!({"domains": ["a"], "caps": [{}]}), "caps[0].max: is missing"),
            (json!({"domains": ["a"], "none": 1}), "none: is not allowed here"),
            (json!({"domains": ["a"], "level": 0}), "level: is 0, less than 1"),
            (
                json!({"domains": ["a"], "level": 10}),
                "level: is 10, not less than 10",
            ),
            (
                json!({"domains": ["a"], "level": "x"}),
                "level: is a string, not integer or null",
            ),
        ];
        for (settings, expected) in cases {
            let problems = check_schema(&schema(), &settings);
            let shown = format!("{}: {}", problems[0].path, problems[0].message);
            assert_eq!(problems.len(), 1, "{settings}: {problems:?}");
            assert!(shown.starts_with(expected), "{settings}: {shown}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"$ref": "#"});
        assert_eq!(check_schema(&schema, &json!({})), []);
        let many = json!({"items": {"type": "string"}});
        let problems = check_schema(&many, &Value::Array(vec![json!(1); 1000]));
        assert_eq!(problems.len(), MAX_PROBLEMS);
    }
}
