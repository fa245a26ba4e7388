#include "recorded.h"

#include <fstream>
#include <iterator>

#include <boost/json.hpp>

namespace potluck::golden {
namespace json = boost::json;

Result<std::vector<RecordedAnswer>> read_answers(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return error(ErrorCode::kNotFound, file.string() + " cannot be read");
    const std::string text(std::istreambuf_iterator<char>(in), {});
    std::vector<RecordedAnswer> answers;
    try {
        const json::value parsed = json::parse(text);
        for (const auto& item : parsed.as_array()) {
            RecordedAnswer answer;
            answer.prompt = item.at("prompt").as_string();
            answer.text = item.at("text").as_string();
            for (const auto& id : item.at("prompt_tokens").as_array()) {
                answer.prompt_tokens.push_back(id.to_number<TokenId>());
            }
            for (const auto& s : item.at("steps").as_array()) {
                RecordedStep step;
                step.id = s.at("id").to_number<TokenId>();
                for (std::size_t i = 0; i < 5; ++i) {
                    const auto& pair = s.at("top").at(i);
                    step.top[i] = {pair.at(0).to_number<TokenId>(), pair.at(1).to_number<float>()};
                    step.exact[i] = s.at("exact").at(i).to_number<float>();
                }
                answer.steps.push_back(step);
            }
            answers.push_back(std::move(answer));
        }
    } catch (const std::exception& e) {
        return error(ErrorCode::kCorrupt, file.string() + ": " + e.what());
    }
    return answers;
}

std::filesystem::path own_data() {
    return std::filesystem::path(POTLUCK_SOURCE_DIR) / "tests/data/golden";
}
std::filesystem::path shared_data() {
    const auto path = std::filesystem::path(POTLUCK_SOURCE_DIR).parent_path() / "shared";
    return std::filesystem::exists(path / "golden") ? path : std::filesystem::path();
}

}  // namespace potluck::golden
