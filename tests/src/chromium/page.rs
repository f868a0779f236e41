//! One page of a browser: open it, run code in it, look at it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::cdp::{Cdp, Event};

const LINES_MAX: usize = 500; // of the console: enough to explain a failure, bounded in a long run

/// A page in a window of its own.
pub struct Page {
    cdp: Cdp,
    name: String,
    target: String,
    session: String,
    console: Arc<Mutex<Vec<ConsoleLine>>>,
}

/// What a page wrote on its console, or an error that nobody caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// Such as `log`, `warning`, `error`, `uncaught`.
    pub level: String,
    /// The text.
    pub text: String,
}

impl Page {
    pub(super) async fn new(cdp: Cdp, name: &str, target: String, session: String) -> Result<Self> {
        let console = Arc::<Mutex<Vec<ConsoleLine>>>::default();
        tokio::spawn(collect(cdp.events(&session), Arc::clone(&console)));
        let page = Self { cdp, name: name.to_owned(), target, session, console };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await?;
        }
        Ok(page)
    }

    /// What the test calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `script` in every document of this page before its own scripts.
    pub async fn run_before_load(&self, script: &str) -> Result<()> {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await.map(drop)
    }

    /// Opens an address; the document may still be loading.
    pub async fn open(&self, address: &str) -> Result<()> {
        let reply = self.call("Page.navigate", json!({ "url": address })).await?;
        match reply["errorText"].as_str() {
            None => Ok(()),
            Some(error) => bail!("{}: {address}: {error}", self.name),
        }
    }

    /// The value of an expression; a promise is awaited.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> Result<T> {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut reply = self.call("Runtime.evaluate", params).await?;
        if let Some(exception) = reply.get("exceptionDetails") {
            bail!("{}: {}: {}", self.name, shortened(expression), exception_text(exception));
        }
        let value = reply["result"]["value"].take();
        serde_json::from_value(value.clone())
            .with_context(|| format!("{}: {} gave {value}", self.name, shortened(expression)))
    }

    /// Runs a statement whose value does not matter.
    pub async fn run(&self, expression: &str) -> Result<()> {
        self.eval::<Value>(&format!("(async () => {{ {expression} }})()")).await.map(drop)
    }

    /// Waits until an expression is true and says how long that took; `claim` names what was waited for.
    pub async fn wait_for(&self, claim: &str, expression: &str, within: Duration) -> Result<Duration> {
        let started = tokio::time::Instant::now();
        loop {
            let value: Value = self.eval(expression).await?;
            if value == json!(true) {
                return Ok(started.elapsed());
            }
            if started.elapsed() > within {
                bail!("{}: {claim}: not within {within:?} (last: {value})", self.name);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the window look `width` by `height` pixels large.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", params).await.map(drop)
    }

    /// What the page looks like, as a PNG in base64.
    pub async fn screenshot(&self) -> Result<String> {
        let reply = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        Ok(reply["data"].as_str().context("a screenshot without data")?.to_owned())
    }

    /// Ends the page's process without a word, as a crash or a dead battery does.
    pub fn crash(&self) {
        self.cdp.post(&self.session, "Page.crash");
    }

    /// Closes the tab as a person does.
    pub async fn close(&self) -> Result<()> {
        self.cdp.call(None, "Target.closeTarget", json!({ "targetId": self.target })).await.map(drop)
    }

    /// Everything written on the console so far.
    pub fn console(&self) -> Vec<ConsoleLine> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The errors among it.
    pub fn console_errors(&self) -> Vec<String> {
        let is_error = |line: &ConsoleLine| line.level == "error" || line.level == "uncaught";
        self.console().into_iter().filter(is_error).map(|line| line.text).collect()
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let reply = self.cdp.call(Some(&self.session), method, params).await;
        reply.with_context(|| format!("page {}", self.name))
    }
}

async fn collect(mut events: mpsc::UnboundedReceiver<Event>, console: Arc<Mutex<Vec<ConsoleLine>>>) {
    while let Some(event) = events.recv().await {
        let Some(line) = console_line(&event) else { continue };
        let mut lines = console.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(line);
        }
    }
}

fn console_line(event: &Event) -> Option<ConsoleLine> {
    let params = &event.params;
    let (level, text) = match event.method.as_str() {
        "Runtime.consoleAPICalled" => {
            let words = params["args"].as_array().into_iter().flatten().map(|word| {
                word["value"].as_str().map_or_else(
                    || word.get("value").or(word.get("description")).unwrap_or(&Value::Null).to_string(),
                    str::to_owned,
                )
            });
            (params["type"].as_str().unwrap_or("log"), words.collect::<Vec<_>>().join(" "))
        }
        "Runtime.exceptionThrown" => ("uncaught", exception_text(&params["exceptionDetails"])),
        "Log.entryAdded" => {
            let entry = &params["entry"];
            let text = format!("{} {}", entry["text"].as_str()?, entry["url"].as_str().unwrap_or_default());
            (entry["level"].as_str()?, text)
        }
        _ => return None, // Chromium's own events: there are hundreds
    };
    Some(ConsoleLine { level: level.to_owned(), text })
}

fn exception_text(details: &Value) -> String {
    let exception = &details["exception"];
    let text = exception["description"].as_str().or(exception["value"].as_str()).or(details["text"].as_str());
    text.unwrap_or("an exception without words").to_owned()
}

fn shortened(expression: &str) -> String {
    let line: String = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 120 { line } else { line.chars().take(117).chain("...".chars()).collect() }
}
