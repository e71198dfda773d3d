#include "condition_reader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "device.h"

namespace sharcs {
namespace {

constexpr double kInterval = 1.0;  // seconds between two readings, at least
constexpr double kShare = 0.001;   // of the time, readings may take
constexpr double kBatteryPlay = 0.01;
constexpr double kTemperaturePlay = 1.0;

// A reading is followed once it differs by more than `play`: a sensor that trembles at a limit switches nothing.
void follow(std::optional<double>& held, std::optional<double> reading, double play) {
  if (reading && held) reading = std::min(std::max(*held, *reading - play), *reading + play);
  held = reading;
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ConditionReader::ConditionReader(std::string root, std::function<double()> clock)
    : root_(std::move(root)), clock_(std::move(clock)), due_(clock_()) {}

void ConditionReader::push(const sharcs_conditions& conditions) {
  check_conditions(conditions);
  const std::lock_guard lock(mutex_);
  known_ = conditions.known;
  pushed_ = {conditions.battery, conditions.temperature, conditions.throttled != 0, conditions.background != 0};
  asked_ = 0;  // read again now what is no longer pushed
  update();
}

Conditions ConditionReader::read(std::uint32_t asks) {
  const std::lock_guard lock(mutex_);
  const double start = clock_();
  if (start >= due_ || (asks & ~asked_) != 0) {
    asked_ |= asks;
    poll(asked_ & ~known_);
    const double end = clock_();
    due_ = end + std::max(kInterval, (end - start) / kShare);
    update();
  }
  return now_;
}

void ConditionReader::poll(std::uint32_t names) {
  if ((names & kBattery) != 0) follow(sensors_.battery, read_battery(root_), kBatteryPlay);
  if ((names & kTemperature) != 0) follow(sensors_.temperature, read_temperature(root_), kTemperaturePlay);
  if ((names & kThrottled) != 0) sensors_.throttled = read_throttled(root_, events_);
  if ((names & kBackground) != 0) sensors_.background = read_background(root_);
}

void ConditionReader::update() {
  now_ = sensors_;
  if ((known_ & kBattery) != 0) now_.battery = pushed_.battery;
  if ((known_ & kTemperature) != 0) now_.temperature = pushed_.temperature;
  if ((known_ & kThrottled) != 0) now_.throttled = pushed_.throttled;
  if ((known_ & kBackground) != 0) now_.background = pushed_.background;
}

}  // namespace sharcs
