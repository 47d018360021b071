//! `pid:N`, `self` and `host`: processes that no engine has to know.

use plim_model::HostPid;

use super::{Engine, Known, RUNNING};
use crate::error::{EngineError, FindError};
use crate::{Members, Selected};

/// `pid:N`
pub(super) struct ByPid;
/// `self`
pub(super) struct Own;
/// `host`
pub(super) struct Host;

fn known(id: String) -> Known {
    Known { id, names: Vec::new(), image: None, state: RUNNING.to_owned() }
}

macro_rules! process_engine {
    ($engine:ty, $name:literal, $find:expr, $pid:expr) => {
        impl Engine for $engine {
            fn name(&self) -> &'static str {
                $name
            }
            fn known(&self) -> Result<Vec<Known>, EngineError> {
                Ok(Vec::new())
            }
            fn find(&self, name: &str) -> Result<Vec<Known>, EngineError> {
                let find: fn(&str) -> String = $find;
                Ok(vec![known(find(name))])
            }
            fn holds_containers(&self) -> bool {
                false
            }
            fn select(&self, known: &Known) -> Result<Selected, FindError> {
                let pid: fn(&str) -> Result<HostPid, FindError> = $pid;
                let pid = pid(&known.id)?;
                Ok(Selected::open($name, &pid.to_string(), None, pid, None, Members::OfPidNamespace)?)
            }
            fn declared(&self, _: &Selected) -> Result<Option<serde_json::Value>, EngineError> {
                Ok(None)
            }
        }
    };
}

process_engine!(ByPid, "pid", |name| name.to_owned(), |text| {
    match text.parse() {
        Ok(pid) if pid > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(HostPid(pid)),
        _ => Err(FindError::BadPid { text: text.to_owned() }),
    }
});
process_engine!(Own, "self", |_| String::new(), |_| Ok(crate::helper::this_process()));
process_engine!(Host, "host", |_| String::new(), |_| Ok(HostPid(1)));

#[cfg(test)]
mod tests {
    use super::super::find;

    #[test]
    fn a_pid_is_a_number_of_a_process() {
        assert_eq!(find(Some("self"), "").expect("self").pid.0, std::process::id().cast_signed());
        assert_eq!(find(Some("pid"), "1").expect("init").pid.0, 1);
        for text in ["0", "-1", "+1", "one", "99999999999", ""] {
            let error = find(Some("pid"), text).expect_err("no pid").to_string();
            assert_eq!(error, format!("{text:?} is not a pid, expected a number from 1 to 2147483647"));
        }
        let error = find(Some("pid"), "2147483647").expect_err("no process").to_string();
        assert_eq!(error, "no process has pid 2147483647");
    }
}
