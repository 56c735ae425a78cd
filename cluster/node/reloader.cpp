#include "cluster/node/reloader.hpp"

#include "cluster/ops/logging.hpp"
#include "cluster/ops/setting_table.hpp"

namespace parley::cluster {

void reloader::add(std::string of, certificate_files files, renewal renew) {
  {
    std::lock_guard guard{mutex_};
    for (const auto& [name, file] : files)
      calendar_.use(name, file);
    parts_.push_back({std::move(of), std::move(files), std::move(renew)});
  }
  remind();
}

void reloader::reload() {
  try {
    std::lock_guard guard{mutex_};
    for (const auto& p : parts_)
      renew(p);
    apply_settings();
  } catch (const std::exception& e) { // what cannot be read again is no reason to end a node that runs
    log::error("reload-failed", {{"why", e.what()}, {"next", "mend it and send SIGHUP again"}});
  }
  remind();
}

void reloader::apply_settings() {
  auto asked = read_again_();
  if (asked.what != startup::action::run) {
    while (asked.text.ends_with('\n'))
      asked.text.pop_back();
    log::error("settings-kept",
               {{"why", asked.text}, {"next", "correct the settings and send SIGHUP again"}});
    return;
  }
  log::set_level(log::level_named(asked.config.log_level));
  running_.log_level = asked.config.log_level;
  std::string others;
  for (const auto& s : setting_table())
    if (s.get(running_) != s.get(asked.config))
      others += (others.empty() ? "" : ", ") + s.key;
  log::info("settings-reloaded", {{"log_level", running_.log_level}});
  if (!others.empty())
    log::warn("settings-need-restart", {{"changed", others}, {"next", "restart the node to use them"}});
}

void reloader::renew(const part& p) {
  std::optional<std::string> why;
  for (const auto& [name, file] : p.files)
    if (!why)
      why = date_objection(file, std::chrono::system_clock::now());
  if (!why)
    why = p.renew();
  if (why) {
    log::error("certificates-kept",
               {{"of", p.of},
                {"why", *why},
                {"means", "those that were read before stay in use"},
                {"next", "put certificates there that can be used, and send SIGHUP again"}});
    return;
  }
  for (const auto& [name, file] : p.files)
    calendar_.use(name, file);
  log::info("certificates-reloaded", {{"of", p.of}});
}

void reloader::remind() {
  const auto now = std::chrono::system_clock::now();
  for (const auto& c : calendar_.due(now))
    log::warn("certificate-ends",
              {{"certificate", c.name},
               {"file", c.file},
               {"on", day_of(c.until)},
               {"days_left", std::chrono::duration_cast<std::chrono::hours>(c.until - now).count() / 24},
               {"next", "renew it (scripts/make_certs.sh does so in its last 30 days) and send SIGHUP"}});
}

} // namespace parley::cluster
