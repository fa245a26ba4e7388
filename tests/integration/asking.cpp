#include "asking.h"

#include <gtest/gtest.h>

#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace potluck::integration {

namespace json = boost::json;

namespace {

std::string body(const Question& question) {
    json::object body = {{"prompt", question.prompt},
                         {"max_tokens", question.max_tokens},
                         {"temperature", question.temperature},
                         {"seed", question.seed},
                         {"ignore_eos", question.ignore_eos}};
    if (!question.speculation.empty()) body["speculation"] = question.speculation;
    return json::serialize(body);
}

}  // namespace

std::int64_t Answer::figure(const char* name) const {
    const auto* report = usage.if_contains("speculation");
    return report == nullptr ? 0 : report->at(name).to_number<std::int64_t>();
}

Answer ask(const Cluster& cluster, const Question& question) {
    const auto answer = cluster.post("/v1/completions", body(question));
    if (answer.status != 200) return {"error: " + answer.body, {}};
    const auto parsed = json::parse(answer.body).as_object();
    return {std::string(parsed.at("choices").at(0).at("text").as_string()),
            parsed.at("usage").as_object()};
}

std::string answer_alone(const Question& question) {
    std::vector<std::string> arguments = {"run",
                                          "--prompt",
                                          question.prompt,
                                          "--max-tokens",
                                          std::to_string(question.max_tokens),
                                          "--temperature",
                                          std::to_string(question.temperature),
                                          "--seed",
                                          std::to_string(question.seed)};
    if (question.ignore_eos) arguments.emplace_back("--ignore-eos");
    auto finished = run_program(arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_TRUE(finished.out.ends_with('\n'));
    return finished.out.substr(0, finished.out.size() - 1);
}

std::string fields(const Question& question) {
    const std::string whole = body(question);
    return whole.substr(1, whole.size() - 2);
}

std::string edit_prompt(const std::string& from, const std::string& to) {
    return "<|im_start|>user\nRename `" + from + "` to `" + to +
           "`:\n```python\ndef total(items, rate):\n    result = 0\n    for item in items:\n"
           "        result += item.price * rate\n        result -= item.discount\n"
           "    return result\n```<|im_end|>\n<|im_start|>assistant\n";
}

}  // namespace potluck::integration
