//! [`crate::api::control`], each method handed to the room that knows its subject.

use jsonrpsee::core::async_trait;
use serde_json::Value;

use super::{Answer, Handlers};
use crate::{
    api::ControlServer,
    server::{backend::Backend, context::tip_of, control},
    types::{ClockInfo, ClockSetting, LogFilter, MemoryInfo, Tip},
};

#[async_trait]
impl<B: Backend> ControlServer for Handlers<B> {
    async fn setmocktime(&self, timestamp: u64) -> Answer<()> {
        control::stand_still(&self.0, timestamp)
    }

    async fn clock(&self, setting: Option<ClockSetting>) -> Answer<ClockInfo> {
        control::clock(&self.0, setting)
    }

    async fn backup(&self, directory: String) -> Answer<Tip> {
        let view = self.0.view();
        self.0.backend.backup(directory).await?;
        Ok(tip_of(&view))
    }

    async fn stop(&self) -> Answer<String> {
        self.0.backend.stop();
        Ok("Ashlar node stopping".to_owned())
    }

    async fn uptime(&self) -> Answer<u64> {
        Ok(self.0.backend.uptime_seconds())
    }

    async fn logging(&self, filter: Option<String>) -> Answer<LogFilter> {
        control::log_filter(&self.0, filter)
    }

    async fn getmemoryinfo(&self) -> Answer<MemoryInfo> {
        control::memory(&self.0).await
    }

    async fn help(&self, command: Option<String>) -> Answer<String> {
        control::help(command.as_deref())
    }

    async fn discover(&self) -> Answer<Value> {
        Ok(control::openrpc().clone())
    }
}
