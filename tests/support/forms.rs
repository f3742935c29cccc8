//! Forms of pages that nobody wrote for these tests: enough of HTML to send one as a browser would.

/// A form of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The first form that is posted, with every named input as the page has filled it in.
    pub fn of(html: &str) -> Option<Form> {
        let forms = html.split("<form").skip(1);
        let form = forms.map(|form| form.split("</form").next().unwrap_or(form)).find(|form| {
            let tag = form.split('>').next().unwrap_or_default();
            attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post"))
        })?;
        let action = attribute(form.split('>').next().unwrap_or_default(), "action").unwrap_or_default();
        let inputs = form.split("<input").skip(1).map(|input| input.split('>').next().unwrap_or_default());
        let named =
            inputs.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())));
        Some(Form { action, fields: named.collect() })
    }

    /// The field's value, or nothing.
    pub fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

/// An attribute in double quotes of a tag's text.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag[start..].split('"').next()?;
    Some(unescaped(value))
}

/// Character references, those that escaping libraries write.
pub fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (reference, rest) = part.split_once(';').unwrap_or((part, ""));
        let character = match reference {
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            "lt" => Some('<'),
            "gt" => Some('>'),
            _ => reference.strip_prefix('#').and_then(|number| {
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(code.ok()?)
            }),
        };
        match character {
            Some(character) => {
                out.push(character);
                out.push_str(rest);
            }
            None => {
                out.push('&');
                out.push_str(part);
            }
        }
    }
    out
}
