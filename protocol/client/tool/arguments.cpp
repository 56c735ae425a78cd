#include "protocol/client/tool/arguments.hpp"

#include "protocol/client/tool/output.hpp"
#include "protocol/values/suggest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

namespace parley::tool {
namespace {

bool is_flag(const option& o) {
  return std::holds_alternative<bool*>(o.value);
}
bool takes_several(const option& o) {
  return std::holds_alternative<std::vector<std::string>*>(o.value);
}
bool is_by_place(const option& o) {
  return !o.name.starts_with('-');
}

/// The number that `text` is, written in decimal digits; other ways to write one ("0x10", "1e3", "5 ") mean
/// different things to different people.
template <class T>
std::optional<T> decimal(std::string_view text) {
  T value{};
  const auto* const end = text.data() + text.size();
  std::from_chars_result read{};
  if constexpr (std::is_floating_point_v<T>)
    read = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  else
    read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc{} || read.ptr != end)
    return std::nullopt;
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value))
      return std::nullopt;
  return value;
}

template <class T>
std::string range_of(const option& o) {
  const auto lowest = o.bounds ? o.bounds->first : double(std::numeric_limits<T>::min());
  if (!o.bounds && std::is_same_v<T, std::uint64_t>)
    return fmt::format("from 0 to {}", std::numeric_limits<std::uint64_t>::max());
  return fmt::format("from {} to {}", lowest,
                     o.bounds ? o.bounds->second : double(std::numeric_limits<T>::max()));
}

class reader {
public:
  reader(std::span<const std::string> words, const std::vector<option>& shared,
         const std::vector<command>& commands, const std::function<const char*(const char*)>& variable)
      : words_{words}, shared_{shared}, commands_{commands}, variable_{variable} {}

  request read() {
    while (at_ < words_.size() && asked_.it != request::what::help_all && asked_.it != request::what::version)
      word(words_[at_++]);
    if (asked_.it != request::what::run)
      return asked_;
    if (!asked_.chosen)
      wrong("No command was given.");
    take_variables(shared_);
    take_variables(asked_.chosen->options);
    for (const auto& o : asked_.chosen->options)
      if (o.required && !given_.contains(&o))
        wrong(fmt::format("{} is required.", is_by_place(o) ? o.unit : o.name + " " + o.unit));
    return asked_;
  }

private:
  [[noreturn]] void wrong(const std::string& sentence) const {
    throw misused{asked_.chosen ? asked_.chosen->name : "", sentence};
  }

  void word(const std::string& w) {
    if (!ended_ && w == "--")
      ended_ = true;
    else if (!ended_ && (w == "--help" || w == "-h"))
      asked_.it = request::what::help;
    else if (!ended_ && w == "--version")
      asked_.it = request::what::version;
    else if (!ended_ && w == "--help-all")
      asked_.it = request::what::help_all;
    else if (!ended_ && w.size() > 1 && w.front() == '-')
      named(w);
    else if (!asked_.chosen)
      choose(w);
    else
      by_place(w);
  }

  void choose(const std::string& name) {
    const auto c = std::ranges::find(commands_, name, &command::name);
    if (c == commands_.end() && name == "help") { // `parley help send`
      asked_.it = request::what::help;
      return;
    }
    if (c == commands_.end()) {
      std::vector<std::string> known;
      for (const auto& other : commands_)
        known.push_back(other.name);
      wrong(
          fmt::format("There is no command `{0}`, and no program `parley-{0}` beside this one or on PATH{1}",
                      printable(name), meant(name, known)));
    }
    asked_.chosen = &*c;
  }

  void by_place(const std::string& w) {
    const auto& options = asked_.chosen->options;
    const auto o = std::ranges::find_if(options, is_by_place);
    if (o == options.end() || (!takes_several(*o) && given_.contains(&*o)))
      wrong(fmt::format("\"{}\" is one word too many: `parley {}` takes {}.", printable(w),
                        asked_.chosen->name, o == options.end() ? "options only" : "one"));
    if (ended_ && o->behind_dashes)
      *o->behind_dashes = true;
    set(*o, w, o->unit);
  }

  const option* find(std::string_view name) const {
    const auto in = [&](const std::vector<option>& options) -> const option* {
      const auto o = std::ranges::find(options, name, &option::name);
      return o == options.end() ? nullptr : &*o;
    };
    if (asked_.chosen)
      if (const auto* o = in(asked_.chosen->options))
        return o;
    return in(shared_);
  }

  void named(const std::string& w) {
    const auto equals = w.find('=');
    const auto name = w.substr(0, equals);
    const auto* o = find(name);
    if (!o)
      unknown(name);
    if (equals != std::string::npos) {
      if (is_flag(*o))
        wrong(fmt::format("{} takes no value.", name));
      set(*o, w.substr(equals + 1), name);
      return;
    }
    if (is_flag(*o)) {
      *std::get<bool*>(o->value) = true;
      given_.insert(o);
      return;
    }
    if (at_ == words_.size() || find(words_[at_]))
      wrong(fmt::format("{} needs a value: {} {}.", name, name, o->unit));
    set(*o, words_[at_++], name);
    while (takes_several(*o) && at_ < words_.size() && !words_[at_].starts_with('-'))
      set(*o, words_[at_++], name);
  }

  /// The end of a sentence about a word that is not known.
  static std::string meant(const std::string& word, const std::vector<std::string>& known) {
    const auto near = suggest(word, known);
    return near ? fmt::format("; did you mean `{}`?", *near) : ".";
  }

  [[noreturn]] void unknown(const std::string& name) const {
    std::vector<std::string> known{"--help"};
    for (const auto& o : shared_)
      known.push_back(o.name);
    if (!asked_.chosen) {
      for (const auto& c : commands_)
        if (std::ranges::count(c.options, name, &option::name) > 0)
          wrong(fmt::format("{} belongs to a command: write it behind the command's name.", name));
      wrong(fmt::format("There is no option {}{}", printable(name), meant(name, known)));
    }
    for (const auto& o : asked_.chosen->options)
      if (!is_by_place(o))
        known.push_back(o.name);
    const bool has_text = std::ranges::any_of(asked_.chosen->options, is_by_place);
    wrong(fmt::format("There is no option {}{}{}", printable(name), meant(name, known),
                      has_text ? " If it is a part of the text, write -- before the text." : ""));
  }

  void take_variables(const std::vector<option>& options) {
    for (const auto& o : options) {
      if (o.environment.empty() || given_.contains(&o))
        continue;
      if (const char* value = variable_(o.environment.c_str()); value && *value) {
        set(o, value, "The variable " + o.environment);
        asked_.variables.push_back(o.environment);
      }
    }
  }

  /// `from`: how a person calls the place where the value was written.
  void set(const option& o, const std::string& text, const std::string& from) {
    const bool first = given_.insert(&o).second;
    std::visit([&](auto* value) { put(o, *value, text, from, first); }, o.value);
    if (!o.choices.empty() && std::ranges::count(o.choices, text) == 0)
      wrong(fmt::format("{}: \"{}\" is not known: give one of {}.", from, printable(text),
                        fmt::join(o.choices, ", ")));
    if (o.existing_file && !std::filesystem::is_regular_file(text))
      wrong(fmt::format("{}: There is no file {}.", from, printable(text)));
  }

  void put(const option&, bool&, const std::string&, const std::string& from, bool) {
    wrong(fmt::format("{} takes no value.", from));
  }
  void put(const option& o, std::string& value, const std::string& text, const std::string& from, bool) {
    if (text.empty() && !is_by_place(o)) // the usual cause is a variable of a script that has no value
      wrong(fmt::format("{} is empty: give a value, or leave the option out.", from));
    value = text;
  }
  void put(const option& o, std::vector<std::string>& values, const std::string& text,
           const std::string& from, bool first) {
    if (text.empty() && !is_by_place(o))
      wrong(fmt::format("{} is empty: give a value, or leave the option out.", from));
    if (first)
      values.clear();
    values.push_back(text);
  }
  template <class T>
  void put(const option& o, T& value, const std::string& text, const std::string& from, bool) {
    const auto number = decimal<T>(text);
    const bool looks_like_one = !text.empty() && text.find_first_not_of("-0123456789.") == std::string::npos;
    if (number && (!o.bounds || (double(*number) >= o.bounds->first && double(*number) <= o.bounds->second)))
      value = *number;
    else if (looks_like_one)
      wrong(fmt::format("{}: {} is out of range: give a number {}.", from, text, range_of<T>(o)));
    else
      wrong(fmt::format("{}: \"{}\" is not a number: give a number {}, in decimal digits.", from,
                        printable(text), range_of<T>(o)));
  }

  std::span<const std::string> words_;
  const std::vector<option>& shared_;
  const std::vector<command>& commands_;
  const std::function<const char*(const char*)>& variable_;
  std::size_t at_ = 0;
  bool ended_ = false; ///< by "--"
  request asked_;
  std::set<const option*> given_;
};

} // namespace

request read_arguments(std::span<const std::string> words, const std::vector<option>& shared,
                       const std::vector<command>& commands,
                       const std::function<const char*(const char*)>& variable) {
  return reader{words, shared, commands, variable}.read();
}

} // namespace parley::tool
