// The command line: what reaches a command is what was typed.
#include "protocol/client/tool/arguments.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace parley::tool;

namespace {

/// A command line and the tables that it is read by.
struct line {
  context shared;
  std::vector<option> options = shared_options(shared);
  std::string to, wait = "sent";
  std::vector<std::string> words, files;
  unsigned lines = 20;
  int seconds = 30;
  double every = 1;
  bool literal = false;
  std::uint64_t after = 0;
  std::vector<command> commands{
      {.name = "send",
       .options =
           {{.name = "--to", .unit = "WHOM", .value = &to, .required = true},
            {.name = "TEXT", .unit = "TEXT", .value = &words, .required = true, .behind_dashes = &literal},
            {.name = "--file", .unit = "FILE", .value = &files},
            {.name = "--wait", .unit = "UNTIL", .value = &wait, .choices = {"sent", "read"}},
            {.name = "--lines", .unit = "NUMBER", .value = &lines},
            {.name = "--after", .unit = "NUMBER", .value = &after},
            {.name = "--every", .unit = "SECONDS", .value = &every, .bounds = std::pair{0.1, 60.0}},
            {.name = "--seconds", .unit = "SECONDS", .value = &seconds, .bounds = std::pair{1.0, 90.0}}}},
      {.name = "sync"}};
  std::map<std::string, std::string> variables;

  request read(const std::vector<std::string>& given) {
    return read_arguments(given, options, commands, [this](const char* name) -> const char* {
      const auto v = variables.find(name);
      return v == variables.end() ? nullptr : v->second.c_str();
    });
  }
  /// The sentence with which it is refused.
  std::string refusal(const std::vector<std::string>& given) {
    try {
      read(given);
    } catch (const misused& e) {
      return e.what();
    }
    return {};
  }
  bool refuses(const std::vector<std::string>& given, const std::string& with) {
    const auto sentence = refusal(given);
    CAPTURE(sentence);
    CHECK(sentence.ends_with('.'));
    const bool found = sentence.find(with) != std::string::npos;
    CHECK(found);
    return found;
  }
};

} // namespace

TEST_CASE(
    "an argument by its place is told whether it stood behind --, where a dash is a word like any other") {
  line l;
  l.read({"send", "--to", "x", "-"});
  CHECK(l.words == std::vector<std::string>{"-"});
  CHECK_FALSE(l.literal);
  line behind;
  behind.read({"send", "--to", "x", "--", "-"});
  CHECK(behind.words == std::vector<std::string>{"-"});
  CHECK(behind.literal);
}

TEST_CASE("the words of a message arrive byte for byte") {
  for (const std::string text : {"[hello,world]",
                                 "[]",
                                 "[",
                                 "{\"a\":[1,2]}",
                                 "a,b",
                                 "%%",
                                 "\"quoted\"",
                                 "'",
                                 "sync",
                                 "send",
                                 "--=",
                                 "-",
                                 "\xff\xfe",
                                 " two  blanks ",
                                 "",
                                 "line\nline",
                                 "a=b",
                                 "+49",
                                 "=",
                                 "\\n"}) {
    CAPTURE(text);
    line l;
    l.read({"send", "--to", "x", "--", text});
    REQUIRE(l.words.size() == 1);
    CHECK(l.words[0] == text);
    if (text.starts_with("--"))
      continue;
    line plain;
    plain.read({"send", text, "--to", "x"});
    REQUIRE(plain.words.size() == 1);
    CHECK(plain.words[0] == text);
  }
  line l;
  l.read({"send", "--to", "[a,b]", "--json", "sync", "now", "--", "--json", "--", "-x"});
  CHECK(l.to == "[a,b]");
  CHECK(l.shared.json);
  CHECK(l.words == std::vector<std::string>{"sync", "now", "--json", "--", "-x"});
}

TEST_CASE("options take their value from the next word or behind =, and shared ones stand anywhere") {
  line l;
  const auto asked =
      l.read({"--profile=a=b", "send", "--to=you", "--to=me", "hi", "--seconds=5", "--seeds", "[::1]:1,h:2"});
  CHECK(asked.chosen->name == "send");
  CHECK(l.shared.profile == "a=b");
  CHECK(l.to == "me");
  CHECK(l.seconds == 5);
  CHECK(l.shared.seeds == "[::1]:1,h:2");
  line several;
  several.read({"send", "--file", "a", "b", "--to", "me", "x", "--file", "c"});
  CHECK(several.files == std::vector<std::string>{"a", "b", "c"});
  CHECK(several.words == std::vector<std::string>{"x"});
}

TEST_CASE("a command line that cannot be understood is refused with a sentence that helps") {
  line l;
  l.refuses({}, "No command was given.");
  l.refuses({"nothing"}, "There is no command `nothing`");
  CHECK(l.refusal({"sned"}).ends_with("; did you mean `send`?"));
  CHECK(l.refusal({"sync", "--porfile", "x"}).ends_with("; did you mean `--profile`?"));
  l.refuses({"--to", "x", "send"}, "behind the command's name");
  l.refuses({"send", "hi"}, "--to WHOM is required");
  l.refuses({"send", "--to", "x"}, "TEXT is required");
  l.refuses({"send", "--to"}, "--to needs a value");
  l.refuses({"send", "--to", "--json", "x"}, "--to needs a value");
  l.refuses({"send", "--to", "", "x"}, "--to is empty");
  l.refuses({"send", "--to", "x", "-1"}, "write -- before the text");
  l.refuses({"send", "--json=yes", "x"}, "--json takes no value");
  l.refuses({"send", "--wait", "never"}, "give one of sent, read");
  l.refuses({"sync", "now"}, "one word too many");
  l.refuses({"sync", "--profile", ""}, "--profile is empty");
}

TEST_CASE("numbers are decimal, whole where a count is asked for, and within their bounds") {
  line l;
  l.read({"send", "--to", "x", "y", "--seconds", "010", "--every", "0.5", "--after", "18446744073709551615"});
  CHECK(l.seconds == 10); // not eight
  CHECK(l.every == 0.5);
  CHECK(l.after == ~std::uint64_t{0});
  for (const char* odd : {"0x10", "1e1", "ten", "5 ", " 5", "+5", "5s", "5,0", "", "inf", "nan", "٣"})
    l.refuses({"send", "--seconds", odd},
              odd == std::string{} ? "is not a number" : "is not a number: give a");
  for (const char* far : {"0", "91", "-1", "1.5", "99999999999999999999"})
    l.refuses({"send", "--seconds", far}, "give a number from 1 to 90");
  l.refuses({"send", "--lines", "-1"}, "from 0 to 4294967295");
  l.refuses({"send", "--after", "-1"}, "from 0 to 18446744073709551615");
  l.refuses({"send", "--every", "0.05"}, "give a number from 0.1 to 60");
}

TEST_CASE("a variable gives what no option gives, and is named if its value is refused") {
  line l;
  l.options.push_back({.name = "--depth",
                       .unit = "N",
                       .value = &l.seconds,
                       .bounds = std::pair{1.0, 9.0},
                       .environment = "PARLEY_DEPTH"});
  l.variables = {{"PARLEY_PROFILE", "from-variable"}, {"PARLEY_SEEDS", "a:1"}, {"PARLEY_CA", ""}};
  l.read({"sync", "--seeds", "b:2"});
  CHECK(l.shared.profile == "from-variable");
  CHECK(l.shared.seeds == "b:2");
  CHECK(l.shared.ca == "");
  l.variables["PARLEY_DEPTH"] = "deep";
  l.refuses({"sync"}, "The variable PARLEY_DEPTH: \"deep\" is not a number");
}

TEST_CASE("help is asked for of the program, of a command, or of all") {
  line l;
  CHECK(l.read({"--help"}).it == request::what::help);
  CHECK(l.read({"-h"}).chosen == nullptr);
  const auto one = l.read({"send", "--wait", "sent", "-h"}); // although what is required is not there
  CHECK(one.it == request::what::help);
  CHECK(one.chosen->name == "send");
  CHECK(l.read({"--help-all"}).it == request::what::help_all);
  CHECK(l.read({"help"}).chosen == nullptr);
  CHECK(l.read({"help", "send"}).chosen->name == "send");
  CHECK(l.read({"help", "send"}).it == request::what::help);
  CHECK(l.read({"--version"}).it == request::what::version);
}
