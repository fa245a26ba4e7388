#include "coordinator/planner/inventory_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "coordinator/planner/known_cards.h"

namespace potluck::planner {
namespace {

constexpr std::size_t kMaxName = 64;
constexpr std::uint32_t kMaxLinkPairs = 4096;

/// From 1; an empty file has none, which counts as the first.
int line(const YAML::Mark& mark) {
    return std::max(mark.line, 0) + 1;
}

/// Reads one inventory; `fail` gives errors with the file's name and the line.
class Reader {
  public:
    explicit Reader(std::string_view name) : name_(name) {}
    Result<Inventory> read(const YAML::Node& root);

  private:
    using Handler = std::function<Status(const YAML::Node& value)>;
    using Handlers = std::map<std::string, Handler, std::less<>>;

    tl::unexpected<Error> fail(const YAML::Node& at, std::string text) const {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}:{}: {}", name_, line(at.Mark()), text));
    }
    /// Calls the handler of each key; what has none, or comes twice, is an error.
    Status map(const YAML::Node& node, std::string_view what, const Handlers& handlers) const;
    Status list(const YAML::Node& node, std::string_view what, std::size_t most,
                const Handler& each) const;
    Result<std::string> text(const YAML::Node& node, std::string_view what) const;
    Result<double> number(const YAML::Node& node, std::string_view what, double least,
                          double most) const;
    Handler number_into(double& out, std::string what, double least, double most) const {
        return [this, &out, what, least, most](const YAML::Node& value) -> Status {
            POTLUCK_ASSIGN(out, number(value, what, least, most));
            return {};
        };
    }
    Status node(const YAML::Node& node);
    Status device(const YAML::Node& node, std::uint32_t index);
    Result<Device> card_of(const YAML::Node& node) const;
    Status rates(const YAML::Node& node, MatmulRates& out) const;
    Status type_rates(const YAML::Node& node, Device& device) const;
    Result<TensorType> type(const YAML::Node& node) const;
    Status link(const YAML::Node& node, Link& out, std::vector<std::string>* between) const;
    Status links(const YAML::Node& node);
    Status pair(const YAML::Node& node);
    Result<std::uint32_t> node_index(const YAML::Node& at, std::string_view name) const;
    Status add(const YAML::Node& at, Device device, double count);

    std::string name_;
    Inventory inventory_;
};

Status Reader::map(const YAML::Node& node, std::string_view what, const Handlers& handlers) const {
    if (!node.IsMap()) return fail(node, fmt::format("{} must have keys and values", what));
    std::vector<std::string> seen;
    for (const auto& entry : node) {
        POTLUCK_ASSIGN(const std::string key, text(entry.first, "a key"));
        const auto found = handlers.find(key);
        if (found == handlers.end()) {
            std::vector<std::string> known;
            for (const auto& [name, handler] : handlers)
                known.push_back(name);
            return fail(entry.first, fmt::format("'{}' is no key of {}: it has {}", key, what,
                                                 fmt::join(known, ", ")));
        }
        if (std::find(seen.begin(), seen.end(), key) != seen.end())
            return fail(entry.first, fmt::format("'{}' is there twice", key));
        seen.push_back(key);
        POTLUCK_TRY(found->second(entry.second));
    }
    return {};
}

Status Reader::list(const YAML::Node& node, std::string_view what, std::size_t most,
                    const Handler& each) const {
    if (!node.IsSequence()) return fail(node, fmt::format("{} must be a list", what));
    if (node.size() == 0 || node.size() > most) {
        return fail(node,
                    fmt::format("{} has {} entries, it may have 1 to {}", what, node.size(), most));
    }
    for (const auto& entry : node)
        POTLUCK_TRY(each(entry));
    return {};
}

Result<std::string> Reader::text(const YAML::Node& node, std::string_view what) const {
    if (!node.IsScalar() || node.Scalar().empty())
        return fail(node, fmt::format("{} must be a word", what));
    const std::string& value = node.Scalar();
    const bool printable = std::all_of(value.begin(), value.end(),
                                       [](unsigned char c) { return c >= 0x20 && c < 0x7F; });
    if (value.size() > kMaxName || !printable) {
        return fail(
            node, fmt::format("{} must be at most {} printable ASCII characters", what, kMaxName));
    }
    return value;
}

Result<double> Reader::number(const YAML::Node& node, std::string_view what, double least,
                              double most) const {
    double value = 0;
    const std::string digits = node.IsScalar() ? node.Scalar() : std::string();
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = read.ec == std::errc() && read.ptr == digits.data() + digits.size();
    if (!whole || !(value >= least && value <= most)) {
        return fail(node, fmt::format("{} must be a number from {} to {}", what, least, most));
    }
    return value;
}

Result<std::uint32_t> Reader::node_index(const YAML::Node& at, std::string_view name) const {
    for (std::uint32_t i = 0; i < inventory_.nodes.size(); ++i)
        if (inventory_.nodes[i].name == name) return i;
    return fail(at, fmt::format("there is no node '{}'", name));
}

Result<TensorType> Reader::type(const YAML::Node& node) const {
    POTLUCK_ASSIGN(const std::string name, text(node, "a weight type"));
    const auto found = parse_tensor_type(name);
    if (found && info(*found).weight) return *found;
    return fail(node, fmt::format("'{}' is no weight type that Potluck knows", name));
}

Status Reader::rates(const YAML::Node& node, MatmulRates& out) const {
    std::size_t i = 0;
    if (!node.IsSequence() || node.size() != out.gops.size())
        return fail(node, "rates are a list of three: for steps of 1, 8 and 512 rows");
    for (const auto& entry : node) {
        POTLUCK_ASSIGN(out.gops[i++], number(entry, "a rate in GOP/s", 1e-3, 1e8));
    }
    return {};
}

Status Reader::type_rates(const YAML::Node& node, Device& device) const {
    if (!node.IsMap()) return fail(node, "rates must have weight types as keys");
    for (const auto& entry : node) {
        TypeRates own;
        POTLUCK_ASSIGN(own.type, type(entry.first));
        POTLUCK_TRY(rates(entry.second, own.rates));
        device.by_type.push_back(own);
    }
    return {};
}

/// The card that a device names, or one with every number still to be given.
Result<Device> Reader::card_of(const YAML::Node& node) const {
    if (!node.IsMap() || !node["card"]) return Device{};
    POTLUCK_ASSIGN(const std::string card, text(node["card"], "card"));
    auto made = make_device(card);
    if (!made) return fail(node["card"], made.error().message);
    return *made;
}

Status Reader::device(const YAML::Node& node, std::uint32_t index) {
    POTLUCK_ASSIGN(Device device, card_of(node));
    device.node = index;
    double memory_gib = static_cast<double>(device.memory_bytes) / (1ULL << 30);
    double count = 1;
    const auto kind = [&](const YAML::Node& value) -> Status {
        POTLUCK_ASSIGN(const std::string word, text(value, "kind"));
        if (word != "cpu" && word != "gpu") return fail(value, "kind must be cpu or gpu");
        device.kind = word == "cpu" ? DeviceKind::kCpu : DeviceKind::kGpu;
        device.drivable = device.kind == DeviceKind::kCpu;
        return {};
    };
    const auto types = [&](const YAML::Node& value) {
        return list(value, "types", tensor_types().size(), [&](const YAML::Node& one) -> Status {
            POTLUCK_ASSIGN(const TensorType known, type(one));
            device.types.push_back(known);
            return {};
        });
    };
    const auto into = [&](std::string& out, const char* what) -> Handler {
        return [this, &out, what](const YAML::Node& value) -> Status {
            POTLUCK_ASSIGN(out, text(value, what));
            return {};
        };
    };
    POTLUCK_TRY(map(
        node, "a device",
        {{"card", [](const YAML::Node&) -> Status { return {}; }},
         {"name", into(device.name, "name")},
         {"kind", kind},
         {"count", number_into(count, "count", 1, kMaxDevices)},
         {"memory_gib", number_into(memory_gib, "memory_gib", 0.01, 1e5)},
         {"read_gbps", number_into(device.read_gbps, "read_gbps", 1e-3, 1e6)},
         {"layer_overhead_us", number_into(device.layer_overhead_us, "layer_overhead_us", 0, 1e6)},
         {"quantised_gops",
          [&](const YAML::Node& value) { return rates(value, device.quantised); }},
         {"float_gops", [&](const YAML::Node& value) { return rates(value, device.floats); }},
         {"elementwise_gops",
          [&](const YAML::Node& value) { return rates(value, device.elementwise); }},
         {"rates", [&](const YAML::Node& value) { return type_rates(value, device); }},
         {"types", types},
         {"arithmetic_class", into(device.arithmetic_class, "arithmetic_class")}}));
    device.memory_bytes = static_cast<std::uint64_t>(memory_gib * (1ULL << 30));
    const bool whole = device.memory_bytes > 0 && device.read_gbps > 0 &&
                       device.quantised.gops[0] > 0 && device.floats.gops[0] > 0;
    if (!whole) {
        return fail(node,
                    "a device without a card must have memory_gib, read_gbps, "
                    "quantised_gops and float_gops");
    }
    if (count != std::floor(count)) return fail(node, "count must be a whole number");
    return add(node, std::move(device), count);
}

Status Reader::add(const YAML::Node& at, Device device, double count) {
    if (device.name.empty())
        device.name = !device.card.empty()              ? device.card
                      : device.kind == DeviceKind::kCpu ? "cpu"
                                                        : "gpu";
    const std::string stem = inventory_.nodes[device.node].name + "/" + device.name;
    const auto taken = [&](const std::string& name) {
        return std::any_of(inventory_.devices.begin(), inventory_.devices.end(),
                           [&](const Device& other) { return other.name == name; });
    };
    for (int i = 0; i < static_cast<int>(count); ++i) {
        if (inventory_.devices.size() == kMaxDevices)
            return fail(at, fmt::format("there are more than {} devices", kMaxDevices));
        device.name = stem;
        for (int number = 2; taken(device.name); ++number)
            device.name = fmt::format("{}#{}", stem, number);
        inventory_.devices.push_back(device);
    }
    return {};
}

Status Reader::node(const YAML::Node& node) {
    const auto index = static_cast<std::uint32_t>(inventory_.nodes.size());
    if (!node.IsMap() || !node["name"]) return fail(node, "a node must have a name and devices");
    POTLUCK_ASSIGN(const std::string name, text(node["name"], "name"));
    if (node_index(node, name)) return fail(node["name"], fmt::format("'{}' is there twice", name));
    inventory_.nodes.push_back({name});
    const std::size_t before = inventory_.devices.size();
    POTLUCK_TRY(map(node, "a node",
                    {{"name", [](const YAML::Node&) -> Status { return {}; }},
                     {"devices", [&](const YAML::Node& devices) {
                          return list(devices, "devices", kMaxDevices,
                                      [&](const YAML::Node& d) { return device(d, index); });
                      }}}));
    if (inventory_.devices.size() == before) return fail(node, "a node must have devices");
    return {};
}

Status Reader::link(const YAML::Node& node, Link& out, std::vector<std::string>* between) const {
    Handlers handlers{{"rtt_ms", number_into(out.rtt_ms, "rtt_ms", 0, 1e5)},
                      {"gbits", number_into(out.gbits, "gbits", 1e-6, 1e5)}};
    if (between != nullptr) {
        handlers["between"] = [this, between](const YAML::Node& names) {
            return list(names, "between", 2, [&](const YAML::Node& one) -> Status {
                POTLUCK_ASSIGN(const std::string name, text(one, "a node's name"));
                between->push_back(name);
                return {};
            });
        };
    }
    return map(node, "a link", handlers);
}

Status Reader::pair(const YAML::Node& node) {
    Link link = inventory_.links.empty() ? Link{} : inventory_.links.front();
    std::vector<std::string> between;
    POTLUCK_TRY(this->link(node, link, &between));
    if (between.size() != 2 || between[0] == between[1])
        return fail(node, "a link must be between two nodes");
    POTLUCK_ASSIGN(const std::uint32_t a, node_index(node, between[0]));
    POTLUCK_ASSIGN(const std::uint32_t b, node_index(node, between[1]));
    const std::size_t n = inventory_.nodes.size();
    inventory_.links[a * n + b] = link;
    inventory_.links[b * n + a] = link;
    return {};
}

Status Reader::links(const YAML::Node& node) {
    Link usual;
    if (!node.IsMap()) return fail(node, "links must have keys and values");
    if (node["default"]) POTLUCK_TRY(link(node["default"], usual, nullptr));
    std::fill(inventory_.links.begin(), inventory_.links.end(), usual);
    return map(node, "links",
               {{"default", [](const YAML::Node&) -> Status { return {}; }},
                {"pairs", [&](const YAML::Node& pairs) {
                     return list(pairs, "pairs", kMaxLinkPairs,
                                 [&](const YAML::Node& one) { return pair(one); });
                 }}});
}

Result<Inventory> Reader::read(const YAML::Node& root) {
    if (!root.IsMap() || !root["nodes"])
        return fail(root, "an inventory must have a list of nodes");
    POTLUCK_TRY(
        list(root["nodes"], "nodes", kMaxNodes, [&](const YAML::Node& one) { return node(one); }));
    const std::size_t n = inventory_.nodes.size();
    inventory_.links.resize(n * n);
    POTLUCK_TRY(map(root, "an inventory",
                    {{"nodes", [](const YAML::Node&) -> Status { return {}; }},
                     {"links", [&](const YAML::Node& all) { return links(all); }},
                     {"coordinator", [&](const YAML::Node& at) -> Status {
                          POTLUCK_ASSIGN(const std::string name, text(at, "coordinator"));
                          POTLUCK_ASSIGN(inventory_.coordinator, node_index(at, name));
                          return {};
                      }}}));
    return std::move(inventory_);
}

}  // namespace

Result<Inventory> parse_inventory(std::string_view text, std::string_view name) {
    if (text.size() > kMaxInventoryBytes) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: {} bytes, an inventory has at most {}", name, text.size(),
                                 kMaxInventoryBytes));
    }
    // yaml-cpp throws; this is where that ends.
    try {
        return Reader(name).read(YAML::Load(std::string(text)));
    } catch (const YAML::Exception& e) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}:{}: {}", name, line(e.mark), e.msg));
    }
}

}  // namespace potluck::planner
