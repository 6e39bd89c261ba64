// Logs in as each line of stdin says (name=value pairs between tabs, the first word is its name) and says how
// that went: the name, and "ok" or the SQLSTATE and message of the refusal.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Properties;

public class Login {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split("\t");
            Properties words = new Properties();
            String place = "";
            for (int at = 1; at < parts.length; at++) {
                String[] pair = parts[at].split("=", 2);
                if (pair[0].equals("place")) {
                    place = pair[1];
                } else {
                    words.setProperty(pair[0], pair[1]);
                }
            }
            try (Connection client = DriverManager.getConnection("jdbc:postgresql://" + place, words);
                    ResultSet rows = client.createStatement().executeQuery("SELECT 40 + 2")) {
                rows.next();
                System.out.println(parts[0] + "\t" + (rows.getInt(1) == 42 ? "ok" : "wrong rows"));
            } catch (SQLException error) {
                System.out.println(parts[0] + "\t" + error.getSQLState() + " " + error.getMessage().split("\n")[0]);
            }
        }
    }
}
