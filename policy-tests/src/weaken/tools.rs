//! Weakenings of the tools that look: they are asked something else, or their answer is changed on its way.

use serde_json::Value;

use super::Weakening;
use crate::Outcome;

impl Weakening {
    /// What `tool` is asked in place of `args`.
    pub fn ask(self, tool: &str, args: &[&str]) -> Vec<String> {
        let mut asked: Vec<String> = args.iter().map(|&word| word.to_owned()).collect();
        // The tools take their targets last.
        match (self, tool, asked.as_mut_slice()) {
            (Weakening::DiffBlind, "plim-diff" | "plim-lock", [.., first, second]) => {
                second.clone_from(first)
            }
            (Weakening::DiffElsewhere, "plim-diff", [.., second])
            | (Weakening::InspectElsewhere, "plim-inspect" | "plim-trace" | "plim-check", [.., second]) => {
                "self".clone_into(second)
            }
            _ => {}
        }
        asked
    }

    /// Changes what `program` answered.
    pub fn answer(self, program: &str, outcome: &mut Outcome) {
        match self {
            // 1 is a difference or a finding, 3 something unknown: both are answers, but of a tracer that sees nothing.
            Weakening::SilentFailure
                if [2, 125, 126, 127].contains(&outcome.code)
                    || (program == "plim-trace" && outcome.code == 3) =>
            {
                outcome.code = 0;
                outcome.stderr.clear();
            }
            Weakening::UnknownPasses if program.starts_with("plim-") && outcome.code == 3 => outcome.code = 0,
            Weakening::Unescaped => {
                for text in [&mut outcome.stdout, &mut outcome.stderr] {
                    *text = text.replace("\\u{202e}", "\u{202e}").replace("\\u202e", "\u{202e}");
                }
            }
            Weakening::InspectForgets if program == "plim-inspect" => {
                let Ok(mut snapshot) = serde_json::from_str::<Value>(&outcome.stdout) else { return };
                if let Some(fields) = snapshot.as_object_mut() {
                    fields.remove("unknown");
                }
                outcome.stdout = snapshot.to_string();
            }
            _ => {}
        }
    }

    /// Changes a recording or a proposal of `plim learn`.
    pub fn learned(self, document: &mut Value) {
        if self == Weakening::LearnForgets
            && let Some(calls) = document.get_mut("calls").and_then(Value::as_array_mut)
        {
            calls.truncate(1);
        }
    }

    /// Changes the refusals of a trace.
    pub fn denials(self, denials: &mut Vec<Value>) {
        match self {
            Weakening::TraceForgets => {
                denials.pop();
            }
            Weakening::TraceBlames => {
                for denial in denials {
                    denial["cause"] =
                        serde_json::json!({"kind": "capability", "capability": "CAP_SYS_ADMIN"});
                }
            }
            _ => {}
        }
    }
}
