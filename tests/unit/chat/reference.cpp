#include "reference.h"

#include <fstream>
#include <sstream>

#include <boost/json/parse.hpp>

#include "base/check.h"

namespace potluck::model::chat::reference {

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    POTLUCK_CHECK(file.good());
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string load_text(std::string_view name) {
    return read_file(std::string(POTLUCK_SOURCE_DIR "/tests/data/chat/") + std::string(name));
}

boost::json::value load(std::string_view name) {
    return boost::json::parse(load_text(name));
}

RenderOptions options() {
    using std::chrono::sys_days;
    RenderOptions out;
    out.now = sys_days(std::chrono::year(2024) / 7 / 26) + std::chrono::hours(15) +
              std::chrono::minutes(4) + std::chrono::seconds(5);
    return out;
}

Result<Rendered> render(std::string_view source, const boost::json::object& variables) {
    POTLUCK_ASSIGN(const Template parsed, Template::parse(source));
    return parsed.render(variables, options());
}

}  // namespace potluck::model::chat::reference
